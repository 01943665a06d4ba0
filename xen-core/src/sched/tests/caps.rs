//! Nobody gets more than the cap, and all of it.

extern crate std;

use super::world::{MS, S, Work, World};

/// Percent of one processor that the tasks got in `ns`.
fn percent(world: &World, before: &[u64], tasks: &[usize], ns: u64) -> f64 {
    let ran = world.ran_since(before);
    tasks.iter().map(|&task| ran[task]).sum::<u64>() as f64 * 100.0 / ns as f64
}

#[test]
fn a_capped_hog_gets_its_cap_on_an_idle_machine() {
    for cap in [1, 10, 25, 50, 99] {
        let mut world = World::new(2);
        let hog = world.task(256, Work::Hog);
        world.set_cap(hog, cap);
        world.start_all();
        world.run(10 * S);
        let got = percent(&world, &[0], &[hog], 10 * S);
        let cap = f64::from(cap);
        assert!((got - cap).abs() < cap * 0.03 + 0.2, "{got} of {cap}");
    }
}

#[test]
fn a_cap_counts_for_all_vcpus_of_a_domain() {
    let mut world = World::new(4);
    let tasks = world.domain(256, &[Work::Hog; 4]);
    world.set_cap(tasks[0], 150);
    world.start_all();
    world.run(10 * S);
    let got = percent(&world, &[0; 4], &tasks, 10 * S);
    assert!((got - 150.0).abs() < 5.0, "{got}");
    let least = tasks.iter().map(|&task| world.tasks[task].ran).min();
    assert!(least > Some(S), "{least:?}");
}

#[test]
fn others_get_what_a_cap_leaves() {
    let mut world = World::new(1);
    let capped = world.task(1024, Work::Hog);
    let free = world.task(256, Work::Hog);
    world.set_cap(capped, 20);
    world.start_all();
    world.run(10 * S);
    let got = percent(&world, &[0, 0], &[capped], 10 * S);
    assert!((got - 20.0).abs() < 1.0, "{got}");
    let got = percent(&world, &[0, 0], &[free], 10 * S);
    assert!((got - 80.0).abs() < 1.0, "{got}");
}

#[test]
fn a_cap_can_be_lifted_and_set_again() {
    let mut world = World::new(1);
    let hog = world.task(256, Work::Hog);
    world.set_cap(hog, 10);
    world.start_all();
    world.run(S + 5 * MS);
    for (cap, least, most) in [(0, 99.0, 100.1), (40, 38.0, 42.0), (0, 99.0, 100.1)] {
        world.set_cap(hog, cap);
        let before = world.ran();
        world.run(5 * S);
        let got = percent(&world, &before, &[hog], 5 * S);
        assert!(least <= got && got <= most, "{got} with cap {cap}");
    }
}

#[test]
fn a_capped_sleeper_is_not_forgotten() {
    let mut world = World::new(2);
    let sleeper = world.task(
        256,
        Work::Sleeper {
            run: 3 * MS,
            sleep: 4 * MS,
        },
    );
    world.set_cap(sleeper, 10);
    for _ in 0..3 {
        world.task(256, Work::Hog);
    }
    world.start_all();
    world.run(10 * S);
    let got = percent(&world, &[0; 4], &[sleeper], 10 * S);
    assert!((got - 10.0).abs() < 1.0, "{got}");
}
