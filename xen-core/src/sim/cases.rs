//! How often a property of the simulated machine is tried.

/// `PROPTEST_CASES` where it is set, otherwise `usual`: what a property can afford in every run of the tests.
///
/// proptest itself looks at the variable only where a test leaves the number to it.
#[must_use]
pub fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(usual)
}
