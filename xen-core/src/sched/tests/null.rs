//! `sched=null`: one vCPU per processor.

extern crate std;

use super::world::{MS, S, Work, World};
use crate::domain::VcpuFlags;
use crate::machine::CpuMask;
use crate::num::CpuId;
use crate::sched::{Policy, Settings};

fn null(cpus: u32) -> World {
    World::with(
        cpus,
        Settings {
            policy: Policy::Null,
            ..Settings::default()
        },
    )
}

#[test]
fn each_has_a_processor_and_the_rest_wait() {
    let mut world = null(2);
    for work in [
        Work::Hog,
        Work::Sleeper {
            run: MS,
            sleep: 9 * MS,
        },
        Work::Hog,
    ] {
        world.task(256, work);
    }
    world.start_all();
    world.run(10 * S);
    assert_eq!(world.tasks[0].ran, 10 * S);
    assert_eq!(world.tasks[1].worst_latency, 0);
    assert_eq!(world.tasks[1].ran_on.iter().count(), 1);
    assert_eq!(world.tasks[2].ran, 0);
    assert_eq!(world.sched.waiting().len(), 1);
    // The sleeper goes down: its processor is free for the one that waits.
    let sleeper = world.tasks[1].vcpu.clone();
    sleeper.set_flags(VcpuFlags::DOWN);
    world.kick(sleeper.running_on());
    let kicks = world.sched.retire(&sleeper, world.now);
    for cpu in kicks.iter() {
        world.kick(Some(cpu));
    }
    world.run(S);
    let late = world.tasks[2].ran;
    assert!(late > 900 * MS, "{late}");
}

#[test]
fn an_affinity_moves_a_vcpu_and_frees_its_processor() {
    let mut world = null(2);
    for _ in 0..2 {
        world.task(256, Work::Hog);
    }
    world.set_affinity(0, &[0]);
    world.set_affinity(1, &[0]);
    world.start_all();
    world.run(S);
    assert_eq!((world.tasks[0].ran, world.tasks[1].ran), (S, 0));
    world.set_affinity(0, &[1]);
    world.run(S);
    assert_eq!(world.tasks[0].ran_on.iter().count(), 2);
    assert_eq!(world.tasks[1].ran_on, CpuMask::single(CpuId(0)));
    assert!(world.tasks[0].ran >= 2 * S - MS && world.tasks[1].ran >= S - MS);
}
