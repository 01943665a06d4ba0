//! The control domain's toolstack.

pub mod sys;
pub mod xenstore;
pub mod xenstored;
