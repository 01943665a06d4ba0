//! Everybody gets a share in proportion to the weight.

extern crate std;

use std::vec::Vec;

use proptest::prelude::*;

use super::world::{MS, S, Work, World, feasible, jain};

/// Runs hogs of these weights and returns the index over what they got of their feasible shares.
fn index(cpus: u32, weights: &[u16]) -> f64 {
    let mut world = World::new(cpus);
    for &weight in weights {
        world.task(weight, Work::Hog);
    }
    world.start_all();
    world.run(S);
    let before = world.ran();
    world.run(20 * S);
    assert_eq!(world.wasted, 0, "work conservation");
    let weights: Vec<f64> = weights.iter().map(|&weight| weight.into()).collect();
    let limits = std::vec![1.0; weights.len()];
    let fair = feasible(cpus.into(), &weights, &limits);
    let ran = world.ran_since(&before);
    let shares: Vec<f64> = ran
        .iter()
        .zip(&fair)
        .map(|(&ran, fair)| ran as f64 / fair)
        .collect();
    jain(&shares)
}

#[test]
fn three_hogs_share_two_processors() {
    let index = index(2, &[256; 3]);
    assert!(index > 0.999, "{index}");
}

#[test]
fn weights_count_on_one_processor() {
    let index = index(1, &[256, 512, 128, 1024]);
    assert!(index > 0.999, "{index}");
}

#[test]
fn a_weight_that_asks_for_more_than_a_processor_gets_one() {
    let index = index(2, &[4096, 256, 256, 256]);
    assert!(index > 0.999, "{index}");
}

#[test]
fn extreme_weights_are_served() {
    let index = index(1, &[65535, 256]);
    assert!(index > 0.99, "{index}");
    let index = self::index(2, &[1, 1, 1]);
    assert!(index > 0.99, "{index}");
    let index = self::index(4, &[65535; 5]);
    assert!(index > 0.99, "{index}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_mix_of_hogs_is_fair(
        cpus in 1u32..9,
        weights in prop::collection::vec(prop_oneof![Just(256u16), 64u16..1024], 1..20),
    ) {
        let index = index(cpus, &weights);
        prop_assert!(index >= 0.99, "{} on {} of {:?}", index, cpus, weights);
    }

    /// Hogs get their shares of what light sleepers leave, and the sleepers get all they ask for.
    #[test]
    fn sleepers_get_what_they_ask_for_and_hogs_share_the_rest(
        cpus in 1u32..5,
        hogs in 1usize..8,
        sleepers in prop::collection::vec((200_000u64..2 * MS, 20 * MS..60 * MS), 1..6),
        yielders in 0usize..2,
    ) {
        let mut world = World::new(cpus);
        let (mut weights, mut limits) = (Vec::new(), Vec::new());
        for _ in 0..hogs {
            world.task(256, Work::Hog);
            weights.push(256.0);
            limits.push(1.0);
        }
        for &(run, sleep) in &sleepers {
            world.task(256, Work::Sleeper { run, sleep });
            weights.push(256.0);
            limits.push(run as f64 / (run + sleep) as f64);
        }
        for _ in 0..yielders {
            world.task(256, Work::Yielder { run: MS });
        }
        world.start_all();
        world.run(S);
        let before = world.ran();
        world.run(20 * S);
        prop_assert_eq!(world.wasted, 0);
        if yielders == 0 {
            let fair = feasible(cpus.into(), &weights, &limits);
            let ran = world.ran_since(&before);
            let shares: Vec<f64> = ran.iter().zip(&fair).map(|(&ran, fair)| ran as f64 / fair).collect();
            let index = jain(&shares);
            prop_assert!(index >= 0.99, "{} {:?}", index, shares);
        }
        for task in &world.tasks {
            prop_assert!(task.ran > 0);
        }
    }
}

#[test]
fn vcpus_of_one_domain_count_each() {
    // As in credit2, the weight is that of every vCPU of the domain.
    let mut world = World::new(2);
    world.domain(256, &[Work::Hog; 3]);
    world.domain(256, &[Work::Hog]);
    world.start_all();
    world.run(10 * S);
    let shares: Vec<f64> = world.ran().iter().map(|&ran| ran as f64).collect();
    assert!(jain(&shares) > 0.999);
}

#[test]
fn a_change_of_weight_takes_effect_at_once() {
    let mut world = World::new(2);
    let heavy = world.task(4096, Work::Hog);
    for _ in 0..3 {
        world.task(256, Work::Hog);
    }
    world.start_all();
    world.run(20 * S);
    // Now they are equals, whatever one was ahead or behind before.
    world.tasks[heavy].domain.sched.set_weight(256);
    world.run(S);
    let before = world.ran();
    world.run(5 * S);
    let shares: Vec<f64> = world
        .ran_since(&before)
        .iter()
        .map(|&ran| ran as f64)
        .collect();
    assert!(jain(&shares) > 0.99, "{shares:?}");
}
