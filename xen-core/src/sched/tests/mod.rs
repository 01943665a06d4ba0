//! The scheduler in simulated time: shares, latency, caps, affinity, and that nobody is forgotten.

mod affinity;
mod caps;
mod fairness;
mod latency;
mod null;
mod threads;
mod world;
