//! Compares the crate with `layout.golden`, which `cargo xtask layout` derives from Xen's own headers, in both directions: what the crate
//! defines is as in C, and what C defines is in the crate or excluded with a reason in `layout.exclusions`.

#[path = "layout/compare.rs"]
mod compare;
#[path = "layout/exclusions.rs"]
mod exclusions;
#[path = "layout/golden.rs"]
mod golden;

use exclusions::Exclusions;
use golden::Golden;
use hypercall_abi::layout::{Constant, TypeLayout};

fn crate_types() -> impl Iterator<Item = (&'static str, &'static TypeLayout)> {
    hypercall_abi::LAYOUT.iter().flat_map(|module| {
        module
            .types
            .iter()
            .copied()
            .flatten()
            .map(|layout| (module.module, layout))
    })
}

fn crate_constants() -> impl Iterator<Item = (&'static str, &'static Constant)> {
    hypercall_abi::LAYOUT.iter().flat_map(|module| {
        module
            .constants
            .iter()
            .copied()
            .flatten()
            .map(|constant| (module.module, constant))
    })
}

fn golden() -> Golden {
    Golden::parse(include_str!("layout.golden"))
}

fn exclusions() -> Exclusions {
    Exclusions::parse(include_str!("layout.exclusions"))
}

fn report(problems: &[String]) {
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

#[test]
fn every_type_of_the_crate_is_as_in_c() {
    let golden = golden();
    let mut problems = Vec::new();
    for (module, layout) in crate_types() {
        match golden.types.get(layout.c_name) {
            None => problems.push(format!(
                "{module}: {} is not in Xen's headers",
                layout.c_name
            )),
            Some(described) => compare::compare_type(layout, described, &mut problems),
        }
    }
    report(&problems);
}

#[test]
fn every_constant_of_the_crate_is_as_in_c() {
    let golden = golden();
    let mut problems = Vec::new();
    for (module, constant) in crate_constants() {
        match golden.constants.get(constant.c_name) {
            None => problems.push(format!(
                "{module}: {} is not in Xen's headers",
                constant.c_name
            )),
            Some(described) if compare::same_value(constant.value, described.value) => {}
            Some(described) => problems.push(format!(
                "{module}: {} is {}, in C {}",
                constant.c_name, constant.value, described.value
            )),
        }
    }
    report(&problems);
}

#[test]
fn every_type_of_c_is_in_the_crate_or_excluded() {
    let (golden, exclusions) = (golden(), exclusions());
    let mut problems = Vec::new();
    for (name, described) in &golden.types {
        let defined = crate_types().any(|(_, layout)| layout.c_name == name);
        match (defined, exclusions.of_type(name, &described.header)) {
            (false, None) => problems.push(format!("{}: {name} is missing", described.header)),
            (true, Some(line)) => problems.push(format!(
                "{}: {name} is in the crate, yet excluded by `{line}`",
                described.header
            )),
            _ => {}
        }
    }
    report(&problems);
}

#[test]
fn every_constant_of_c_is_in_the_crate_or_excluded() {
    let (golden, exclusions) = (golden(), exclusions());
    let mut problems = Vec::new();
    for (name, described) in &golden.constants {
        let defined = crate_constants().any(|(_, constant)| constant.c_name == name);
        match (defined, exclusions.of_constant(name, described, &golden)) {
            (false, None) => problems.push(format!(
                "{}: {name} = {:#x} is missing",
                described.header, described.value
            )),
            (true, Some(line)) => problems.push(format!(
                "{}: {name} is in the crate, yet excluded by `{line}`",
                described.header
            )),
            _ => {}
        }
    }
    report(&problems);
}

#[test]
fn every_exclusion_excludes_something() {
    let (golden, exclusions) = (golden(), exclusions());
    for (name, described) in &golden.types {
        exclusions.of_type(name, &described.header);
    }
    for (name, described) in &golden.constants {
        exclusions.of_constant(name, described, &golden);
    }
    report(&exclusions.unused());
}

#[test]
fn the_golden_file_names_nothing_twice_with_different_meanings() {
    report(&golden().conflicts);
}

#[test]
fn every_module_registers_once() {
    let mut modules: Vec<&str> = hypercall_abi::LAYOUT
        .iter()
        .map(|entries| entries.module)
        .collect();
    modules.sort_unstable();
    let before = modules.len();
    modules.dedup();
    assert_eq!(modules.len(), before);
}
