import sys

import numpy as np
import pytest

from ram_ray.data_engine.cluster.clusters import Clusters, fit, judge
from ram_ray.data_engine.config import ClusterConfig
from ram_ray.errors import ConfigError


@pytest.fixture
def regions():
    """Two looks of one tag, 200 regions each, and 10 that are neither."""
    generator = np.random.default_rng(0)
    looks = np.eye(16, dtype=np.float32)[:3] * 5
    rows = np.repeat(looks, [200, 200, 10], axis=0)
    return rows + generator.normal(0, 0.5, rows.shape).astype(np.float32)


def test_what_looks_like_nothing_usual_is_an_outlier(regions):
    tag_ids = np.zeros(len(regions), np.int32)
    clusters = fit(regions[:400], tag_ids[:400], ClusterConfig(num_clusters=2))
    verdict = judge(clusters, regions, tag_ids)
    assert verdict.outlier[400:].all()
    assert verdict.outlier[:400].mean() < 0.02  # a fixed cut would remove 10 %


def test_the_papers_cut_removes_its_share_whatever_they_look_like(regions):
    tag_ids = np.zeros(400, np.int32)
    clusters = fit(regions[:400], tag_ids, ClusterConfig(cut="share", outlier_share=0.1))
    assert judge(clusters, regions[:400], tag_ids).outlier.mean() == pytest.approx(0.1, abs=0.01)


def test_a_verdict_depends_on_no_other_region_and_survives_a_file(regions):
    tag_ids = np.zeros(len(regions), np.int32)
    clusters = Clusters.from_table(fit(regions, tag_ids).to_table())
    whole = judge(clusters, regions, tag_ids)
    alone = judge(clusters, regions[405:406], tag_ids[405:406])
    assert alone.z[0] == pytest.approx(whole.z[405], rel=1e-5)


def test_rare_tags_and_broken_regions_are_not_judged(regions):
    tag_ids = np.zeros(len(regions), np.int32)
    tag_ids[:5] = 7
    broken = regions.copy()
    broken[20] = np.nan
    broken[21] = 0
    clusters = fit(broken, tag_ids)
    assert clusters.tag_ids.tolist() == [0]
    verdict = judge(clusters, broken, tag_ids)
    assert np.isnan(verdict.z[[0, 4, 20, 21]]).all()
    assert not verdict.outlier[[0, 4, 20, 21]].any()


def test_no_regions_give_no_clusters():
    clusters = fit(np.zeros((0, 8), np.float32), np.zeros(0, np.int32))
    again = Clusters.from_table(clusters.to_table())
    assert len(judge(again, np.ones((3, 8), np.float32), np.zeros(3, np.int32)).z) == 3


def test_without_faiss_the_same_regions_stand_out(regions, monkeypatch):
    tag_ids = np.zeros(len(regions), np.int32)
    with_faiss = judge(fit(regions, tag_ids), regions, tag_ids).outlier
    monkeypatch.setitem(sys.modules, "faiss", None)
    without = judge(fit(regions, tag_ids), regions, tag_ids).outlier
    assert (with_faiss == without).mean() > 0.98


def test_wrong_settings_and_shapes_are_named(regions):
    with pytest.raises(ConfigError, match="outlier_share is 2"):
        ClusterConfig(outlier_share=2)
    with pytest.raises(ValueError, match="must be"):
        fit(regions, np.zeros(3, np.int32))
