//! What CPUID and MSRs a guest may see.
/// Policy of one domain.
#[derive(Debug)]
pub struct CpuPolicy;
/// Policies derived from the host.
#[derive(Debug)]
pub struct CpuPolicies;
