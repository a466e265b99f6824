"""The sizes: dated, sourced, consistent with themselves, and found in any case."""

import datetime
from collections import defaultdict

import pytest

from azdistill.errors import UserError
from azdistill.sizing import skus

ALL = skus.all_of()


def test_the_gpu_families_that_teachers_need_are_there() -> None:
    assert {"T4", "A10", "A100", "H100", "H100 NVL", "H200", "MI300X"} <= {sku.gpu for sku in ALL}
    assert sum(not sku.gpus for sku in ALL) > 10


def test_names_are_unique() -> None:
    assert len({sku.name.lower() for sku in ALL}) == len(ALL) > 40


@pytest.mark.parametrize("sku", ALL, ids=lambda sku: sku.name)
def test_an_entry_is_whole(sku: skus.Sku) -> None:
    assert (sku.gpus > 0) == (sku.gpu is not None) == (sku.gpu_memory_gib is not None)
    assert (sku.price is None) == (sku.price_source is None)
    assert sku.as_of <= datetime.date(2026, 11, 23)
    assert len(sku.source.split()) > 2
    assert sku.currency == "USD"
    if sku.low_priority_price is not None:
        assert sku.price is not None
        assert sku.low_priority_price < sku.price


@pytest.mark.parametrize(
    "name", ["Standard_NC24ads_A100_v4", "standard_nc24ads_a100_v4", "NC24ads_A100_v4", " NC24ADS_A100_V4 "]
)
def test_a_size_is_found_in_any_case(name: str) -> None:
    sku = skus.find(name)
    assert sku is not None
    assert (sku.name, sku.gpus, sku.gpu, sku.gpu_memory_gib) == ("Standard_NC24ads_A100_v4", 1, "A100", 80)


def test_an_unknown_size_is_none_and_get_says_which_was_meant() -> None:
    assert skus.find("Standard_NC24ads_A100_v5") is None
    with pytest.raises(UserError) as caught:
        skus.get("Standard_NC24ads_A100_v5")
    assert caught.value.code == "AZD470"
    assert "did you mean 'Standard_NC24ads_A100_v4'" in caught.value.hint


def test_an_own_price_comes_before_ours_and_says_so() -> None:
    sku = skus.get("Standard_ND96isr_H200_v5", {"standard_nd96isr_h200_V5": 80.5})
    assert (sku.price, sku.price_source) == (80.5, "azdistill.yml")
    assert skus.get("Standard_ND96isr_H200_v5").price is None
    assert [s.price for s in skus.all_of({"Standard_D8s_v5": 1.25}) if s.name == "Standard_D8s_v5"] == [1.25]


def test_memory_of_all_gpus() -> None:
    assert skus.get("Standard_ND96isr_H100_v5").total_gpu_memory_gib == 640
    assert skus.get("Standard_D8s_v5").total_gpu_memory_gib == 0


def test_a_size_with_several_gpus_or_cores_costs_as_many_times_what_one_costs() -> None:
    # A price of another operating system, region or tier shows as one that is out of proportion.
    alike: dict[tuple[object, ...], list[skus.Sku]] = defaultdict(list)
    for sku in ALL:
        of_one = sku.gpus or sku.vcpus
        alike[sku.family, sku.gpu, sku.vcpus / of_one, round(sku.memory_gib / of_one / 10)].append(sku)
    families = [several for several in alike.values() if len(several) > 1]
    assert {"A100", "H100 NVL", "T4", "A10"} <= {several[0].gpu for several in families}
    for several in families:
        for kind in ("price", "low_priority_price"):
            smallest, *larger = sorted(several, key=lambda sku: sku.gpus or sku.vcpus)
            for sku in larger:
                times = (sku.gpus or sku.vcpus) / (smallest.gpus or smallest.vcpus)
                one, all_of_them = getattr(smallest, kind), getattr(sku, kind)
                assert (one is None) == (all_of_them is None)
                assert one is None or all_of_them == pytest.approx(times * one, rel=0.1), sku.name
