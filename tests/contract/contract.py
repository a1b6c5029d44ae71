"""The whole contract: what a test class of a backend inherits."""

from typing import Any

from tests.contract.answering import AnsweringContract
from tests.contract.batches import BatchesContract
from tests.contract.caching import CachedReadsContract, CachingContract
from tests.contract.concurrency import ConcurrencyContract
from tests.contract.coroutines import CoroutinesContract
from tests.contract.creating import CreatingContract
from tests.contract.cursors import CursorsContract
from tests.contract.deleting import DeletingContract
from tests.contract.expiring import ExpiringContract
from tests.contract.idempotency import IdempotencyContract
from tests.contract.large import LargeTextsContract
from tests.contract.limits import LimitsContract
from tests.contract.listing import FilteringContract, ListingContract, PagingContract
from tests.contract.neighbours import NeighboursContract
from tests.contract.reading import ReadingContract
from tests.contract.round_trips import RoundTripsContract
from tests.contract.saving import SavingContract
from tests.contract.searching import SearchingContract
from tests.contract.sequences import SequencesContract
from tests.contract.stubs import StubsContract
from tests.contract.tiers import TiersContract
from tests.contract.updating import UpdatingContract
from tests.contract.usage import UsageContract


class StorageContract(
    SavingContract,
    ReadingContract,
    CreatingContract,
    IdempotencyContract,
    BatchesContract,
    UpdatingContract,
    DeletingContract,
    ExpiringContract,
    TiersContract,
    StubsContract,
    ListingContract,
    FilteringContract,
    PagingContract,
    CursorsContract,
    NeighboursContract,
    SearchingContract,
    LimitsContract,
    LargeTextsContract,
    CachingContract,
    CachedReadsContract,
    AnsweringContract,
    CoroutinesContract,
    ConcurrencyContract,
    RoundTripsContract,
    SequencesContract,
    UsageContract,
):
    """The behaviour that every backend owes.

    A backend's test class inherits this and has a fixture `storage`, which gives the backend
    with nothing stored and nothing cached. Nothing here may know which backend it is.
    """

    every_coroutine = False
    """Whether `make test` runs every test by the coroutines as well; one backend does."""

    clock_of_cache: Any = None
    """The module by whose `time` values in the cache end, if that is no server of its own."""
