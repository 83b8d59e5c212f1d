"""Nobody takes what others need, however many they pretend to be."""

import pytest

from ram_ray.serving.guard.rooms import BodyRooms, Room
from ram_ray.serving.problems import Problem


def fill(room: Room, client: str) -> int:
    """Let a client take one by one until it is refused; return how many it has."""

    def take_all() -> None:
        while True:
            room.take(client, 1, is_first=False)

    with pytest.raises(Problem) as refused:
        take_all()
    assert refused.value.status_code == 429
    return room.held_by(client)


def test_a_newcomer_always_finds_room() -> None:
    room = Room(120, "bodies")
    assert fill(room, "a") == 60
    assert fill(room, "b") == 30
    assert [fill(room, client) for client in "cdefgh"] == [15, 7, 4, 2, 1, 0]
    room.give("a", 60)
    assert fill(room, "late") >= 30


def test_a_full_room_is_nobodys_fault() -> None:
    room = Room(10, "bytes")
    room.take("a", 10, is_first=True)
    with pytest.raises(Problem) as refused:
        room.take("b", 1, is_first=True)
    assert (refused.value.code, refused.value.status_code) == ("overloaded", 503)
    room.give("a", 10)
    assert (room.total, room.held_by("a")) == (0, 0)


def test_an_only_body_may_have_all_that_is_free() -> None:
    rooms = BodyRooms(most_bodies=2, most_bytes=100, whole_for_one=True)
    rooms.take_bytes("a", 40)
    rooms.take_bytes("a", 50, own=40)
    rooms.bytes.give("a", 90)
    rooms.take_bytes("a", 40)
    with pytest.raises(Problem):
        rooms.take_bytes("a", 40)  # a second body


def test_of_the_unproven_none_has_more_than_half() -> None:
    rooms = BodyRooms(most_bodies=2, most_bytes=100, whole_for_one=False)
    rooms.take_bytes("a", 50)
    with pytest.raises(Problem):
        rooms.take_bytes("a", 1, own=50)
