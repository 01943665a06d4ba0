//! The control domain's toolstack: `xeno` and its daemons.
//!
//! From the bottom: [`sys`] talks to Linux's Xen devices (all `unsafe` is there and in [`xen::live`]), [`xen`] makes typed
//! hypercalls over it, [`xenstore`] is the store's protocol and [`xenstored`] its daemon, [`store`] is a client of it, [`config`]
//! reads guest configurations, [`builder`] puts a kernel into a new domain, [`device`] attaches disks and network cards,
//! [`domain`] is the life of a domain from create to destroy, [`console`] serves and attaches consoles, and [`cli`] is the
//! command line.
#![deny(unsafe_code)]

pub mod sys;
pub mod xen;

pub mod xenstore;
pub mod xenstored;

pub mod builder;
pub mod cli;
pub mod config;
pub mod console;
pub mod device;
pub mod domain;
pub mod migration;
pub mod store;
