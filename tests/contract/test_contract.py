"""Every test of the contract is run: none has the name of another, which it would hide."""

from collections import Counter

from tests.contract.contract import StorageContract


def test_no_test_of_the_contract_hides_another():
    parts = [part for part in StorageContract.__mro__ if part is not StorageContract]
    names = Counter(name for part in parts for name in vars(part) if name.startswith("test_"))
    assert [name for name, times in names.items() if times > 1] == []
