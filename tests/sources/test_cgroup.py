"""Which control groups are shown, on both kinds of hierarchy."""

import os
import shutil

from jepad.sources.cgroup import Cgroup


def shown(cgroup):
    return [s.name.removeprefix("cgroup.").rpartition(".")[0] for s in cgroup.describe()
            if s.name.endswith("memory_current")]  # fmt: skip


def test_groups_that_hold_memory_themselves_come_before_their_parents(tree):
    assert shown(Cgroup(tree)) == [
        "system.slice",
        "system.slice/db.service",
        "system.slice/web.service",
        "user.slice/user-1000.slice",
        "user.slice/user-1000.slice/session-2.scope",
        "user.slice/user-1000.slice/user@1000.service",
    ]  # user.slice holds 10 MB of its own, user-1000.slice 90; a 4th level is not seen


def test_values_of_the_unified_hierarchy(tree):
    cgroup = Cgroup(tree)
    cgroup.describe()
    values = cgroup.read()
    name = "cgroup.system.slice/web.service"
    assert {k.rpartition(".")[2]: v for k, v in values.items() if k.startswith(name)} == {
        "memory_current": 700_000_000,
        "cpu_usage": 70_000_000,
        "memory_pressure": 700_000,
        "io_bytes": 70_000_000 + 35_000_000 + 4096,
    }
    assert (
        values["cgroup.user.slice/user-1000.slice/session-2.scope.io_bytes"] == 0
    )  # idle groups have an empty io.stat


def test_values_of_v1_controllers(tree_v1):
    cgroup = Cgroup(tree_v1)
    assert shown(cgroup) == ["lxc", "system.slice", "system.slice/web.service"]
    values = cgroup.read()
    assert values["cgroup.lxc.memory_current"] == 9_000_000
    assert values["cgroup.lxc.cpu_usage"] == 6000  # ns in the file, us in the series
    assert values["cgroup.lxc.io_bytes"] == 4096


def test_a_group_that_ends_is_no_failure(tree):
    cgroup = Cgroup(tree)
    before = {s.name for s in cgroup.describe()}
    shutil.rmtree(f"{tree.sys}/fs/cgroup/system.slice/web.service")
    values = cgroup.read()
    missing = before - set(values)
    assert all(n.startswith("cgroup.system.slice/web.service") for n in missing)


def test_the_choice_is_stable_and_a_newcomer_waits_for_a_place(tree, put):
    cgroup = Cgroup(tree)
    before = shown(cgroup)
    grown = {
        "system.slice/memory.current": "1700000000\n",
        "system.slice/new.service/memory.current": "800000000\n",
    }
    put(f"{tree.sys}/fs/cgroup", grown)
    assert shown(cgroup) == before
    shutil.rmtree(f"{tree.sys}/fs/cgroup/system.slice/db.service")
    assert shown(cgroup) == sorted(
        {*before} - {"system.slice/db.service"} | {"system.slice/new.service"}
    )
    assert "system.slice/new.service" in shown(Cgroup(tree))


def test_thousands_of_groups_are_not_all_looked_at(tree, put):
    put(
        f"{tree.sys}/fs/cgroup/pods",
        {f"pod{i}/memory.current": f"{i + 1}\n" for i in range(1500)} | {"memory.current": "9\n"},
    )
    assert len(shown(Cgroup(tree))) == 6


def test_names_users_choose_break_nothing(tree, put):
    put(f"{tree.sys}/fs/cgroup/a,\nb\x1b[31m é", {"memory.current": "99000000000\n"})
    os.symlink("..", f"{tree.sys}/fs/cgroup/loop")
    assert "a__b__31m__" in shown(Cgroup(tree))
