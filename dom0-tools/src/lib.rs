//! The control domain's toolstack.
