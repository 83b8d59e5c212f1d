"""Step 6: what every step did, in one page: counts, tags gained and lost, examples with pictures.

report.html    of the latest revision; revisions/NNNNNN/report.html of each
"""

from ram_ray.config import StoreConfig
from ram_ray.data_engine.report.data import read_report
from ram_ray.data_engine.report.page import render
from ram_ray.data_engine.revisions.label_sets import Revision, revision_store
from ram_ray.images.thumbnails import thumbnails
from ram_ray.storage.stores import Store

REPORT_KEY = "report.html"


def write_report(store: Store, revision: Revision, config: StoreConfig) -> str:
    """Write the page of a revision, and as the output's; return the key."""
    data = read_report(store, revision, config)
    uris = [example.label["uri"] for example in (*data.added, *data.removed)]
    pictures = thumbnails(uris, config)
    page = render(data, pictures).encode()
    revision_store(store, revision.number, config).write(REPORT_KEY, page)
    store.write(REPORT_KEY, page)
    return REPORT_KEY
