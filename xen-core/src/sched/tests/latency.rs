//! Who wakes up runs soon, whatever others do.

extern crate std;

use super::world::{MS, S, US, Work, World};

#[test]
fn a_light_sleeper_waits_no_longer_than_the_rate_limit() {
    for (cpus, hogs) in [(1, 1), (1, 8), (2, 4), (4, 16)] {
        let mut world = World::new(cpus);
        for _ in 0..hogs {
            world.task(256, Work::Hog);
        }
        world.start_all();
        world.run(S);
        let sleeper = world.task(
            256,
            Work::Sleeper {
                run: 300 * US,
                sleep: 7 * MS,
            },
        );
        world.start_all();
        world.run(20 * S);
        let task = &world.tasks[sleeper];
        assert!(task.wakes > 2000, "{cpus} {hogs}: {} wakes", task.wakes);
        assert!(
            task.worst_latency <= 1100 * US,
            "{cpus} {hogs}: {} ns",
            task.worst_latency
        );
    }
}

#[test]
fn the_rate_limit_is_what_was_set() {
    let worst = |us| {
        let mut world = World::new(1);
        world.sched.set_ratelimit_us(us);
        world.task(256, Work::Hog);
        let sleeper = world.task(
            256,
            Work::Sleeper {
                run: 100 * US,
                sleep: 3 * MS,
            },
        );
        // Another one, so that somebody has often just begun to run.
        world.task(256, Work::Hog);
        world.start_all();
        world.run(S);
        world.tasks[sleeper].worst_latency = 0;
        world.run(10 * S);
        world.tasks[sleeper].worst_latency
    };
    assert!(worst(0) < 200 * US, "{}", worst(0));
    let limited = worst(5000);
    assert!((MS..=5100 * US).contains(&limited), "{limited}");
}

#[test]
fn a_wake_up_goes_to_an_idle_processor() {
    let mut world = World::new(4);
    for _ in 0..3 {
        world.task(256, Work::Hog);
    }
    let sleeper = world.task(
        256,
        Work::Sleeper {
            run: 5 * MS,
            sleep: 5 * MS,
        },
    );
    world.start_all();
    world.run(S);
    world.tasks[sleeper].worst_latency = 0;
    world.run(5 * S);
    assert_eq!(world.tasks[sleeper].worst_latency, 0);
    assert_eq!(world.wasted, 0);
}

#[test]
fn who_yields_lets_others_run() {
    let mut world = World::new(1);
    let spinner = world.task(256, Work::Yielder { run: 50 * US });
    let other = world.task(256, Work::Yielder { run: 50 * US });
    let hog = world.task(256, Work::Hog);
    world.start_all();
    world.run(5 * S);
    for task in [other, hog] {
        assert!(world.tasks[task].ran > S, "{}", world.tasks[task].ran);
    }
    assert!(world.tasks[spinner].switches > 100);
}

#[test]
fn an_idle_machine_asks_for_no_timer() {
    let mut world = World::new(2);
    world.task(256, Work::Idle);
    world.start_all();
    world.run(S);
    for cpu in 0..2 {
        assert_eq!(world.sched.slice_deadline(crate::num::CpuId(cpu)), None);
    }
}
