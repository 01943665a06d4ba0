//! vCPUs run where they may, and best where they had better.

extern crate std;

use std::vec::Vec;

use proptest::prelude::*;

use super::world::{MS, S, Work, World, jain};
use crate::machine::CpuMask;
use crate::num::CpuId;

#[test]
fn pinned_hogs_share_their_processor_alone() {
    let mut world = World::new(4);
    let pinned: Vec<usize> = (0..4).map(|_| world.task(256, Work::Hog)).collect();
    let light = world.task(64, Work::Hog);
    for &task in pinned.iter().chain([&light]) {
        world.set_affinity(task, &[2]);
    }
    let free = world.task(256, Work::Hog);
    world.start_all();
    world.run(20 * S);
    for &task in &pinned {
        assert_eq!(world.tasks[task].ran_on, CpuMask::single(CpuId(2)));
    }
    let shares: Vec<f64> = pinned
        .iter()
        .map(|&task| world.tasks[task].ran as f64 / 4.0)
        .chain([world.tasks[light].ran as f64])
        .collect();
    assert!(jain(&shares) > 0.995, "{shares:?}");
    assert!(world.tasks[free].ran > 19 * S);
}

#[test]
fn a_running_vcpu_moves_when_its_affinity_changes() {
    let mut world = World::new(3);
    let hog = world.task(256, Work::Hog);
    let other = world.task(256, Work::Hog);
    world.set_affinity(other, &[1]);
    world.start_all();
    for round in 0..30u32 {
        let cpu = round % 3;
        world.set_affinity(hog, &[cpu]);
        world.tasks[hog].ran_on = CpuMask::EMPTY;
        let before = world.tasks[hog].ran;
        world.run(50 * MS);
        assert_eq!(world.tasks[hog].ran_on, CpuMask::single(CpuId(cpu)));
        assert!(world.tasks[hog].ran - before > 20 * MS);
    }
}

#[test]
fn soft_affinity_is_followed_where_there_is_room() {
    let mut world = World::new(4);
    let hogs: Vec<usize> = (0..2).map(|_| world.task(256, Work::Hog)).collect();
    let mut wish = CpuMask::EMPTY;
    wish.insert(CpuId(2));
    wish.insert(CpuId(3));
    world.start_all();
    world.run(100 * MS);
    for &hog in &hogs {
        world.tasks[hog].vcpu.sched.set_soft_affinity(&wish);
    }
    world.run(100 * MS);
    for &hog in &hogs {
        world.tasks[hog].ran_on = CpuMask::EMPTY;
    }
    world.run(S);
    for &hog in &hogs {
        assert_eq!(world.tasks[hog].ran_on.and(&wish), world.tasks[hog].ran_on);
    }
    // Too many for there: they use the rest of the machine.
    for _ in 0..2 {
        let hog = world.task(256, Work::Hog);
        world.tasks[hog].vcpu.sched.set_soft_affinity(&wish);
    }
    world.start_all();
    let before = world.ran();
    world.run(5 * S);
    assert!(world.ran_since(&before).iter().all(|&ran| ran > 4 * S));
    assert_eq!(world.wasted, 0);
}

#[test]
fn a_processor_that_goes_offline_leaves_nobody_behind() {
    let mut world = World::new(4);
    for _ in 0..6 {
        world.task(256, Work::Hog);
    }
    world.set_affinity(5, &[3]);
    world.start_all();
    world.run(S);
    let kicks = world.sched.cpu_offline(CpuId(3), world.now);
    for cpu in kicks.iter() {
        world.kick(Some(cpu));
    }
    world.run(100 * MS);
    for task in &mut world.tasks {
        task.ran_on = CpuMask::EMPTY;
    }
    let before = world.ran();
    world.run(10 * S);
    let shares: Vec<f64> = world
        .ran_since(&before)
        .iter()
        .map(|&ran| ran as f64)
        .collect();
    assert!(jain(&shares) > 0.99, "{shares:?}");
    for task in &world.tasks {
        assert!(!task.ran_on.contains(CpuId(3)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever the affinities and whenever they change, nobody starves, no processor idles that somebody could use,
    /// and everybody runs only where it may (the simulation asserts the last).
    #[test]
    fn any_affinities_conserve_work(
        cpus in 1u32..6,
        tasks in prop::collection::vec((1u32..32, 0u8..3, 100u16..1000), 1..12),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1u32..32), 0..20),
    ) {
        let mut world = World::new(cpus);
        let all = (1u32 << cpus) - 1;
        let list = |bits: u32| -> Vec<u32> {
            let bits = if bits & all == 0 { all } else { bits & all };
            (0..cpus).filter(|cpu| bits & 1 << cpu != 0).collect()
        };
        for &(mask, kind, weight) in &tasks {
            let work = match kind {
                0 => Work::Hog,
                1 => Work::Sleeper { run: 3 * MS, sleep: 5 * MS },
                _ => Work::Yielder { run: MS },
            };
            let task = world.task(weight, work);
            world.set_affinity(task, &list(mask));
        }
        world.start_all();
        world.run(S);
        for (which, mask) in &changes {
            let task = which.index(world.tasks.len());
            world.set_affinity(task, &list(*mask));
            world.run(37 * MS);
        }
        let before = world.ran();
        world.run(4 * S);
        prop_assert_eq!(world.wasted, 0);
        for (task, ran) in world.ran_since(&before).iter().enumerate() {
            prop_assert!(*ran > 20 * MS, "task {} ran {} ns", task, ran);
        }
    }
}
