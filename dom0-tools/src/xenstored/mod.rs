//! The daemon that keeps the store.
//!
//! From the middle outwards:
//!
//! * [`node`], [`database`], [`transaction`]: the tree, and a private view of it;
//! * [`watch`], [`quota`], [`connection`], [`domain`]: who sees changes, who may have how much, who is there;
//! * [`daemon`] and the files of its operations: one request in, answers, events and changes of state out. It reads no clock and no
//!   file; whatever it needs from Xen it asks a [`platform::Platform`] for, so all of it runs in tests;
//! * [`journal`], `recovery`: the state as an append-only log, and back;
//! * [`ring`], [`server`]: bytes from and to shared pages and sockets;
//! * [`options`]: the command line.
//!
//! Contract: Xen 4.17's `docs/misc/xenstore.txt` and `io/xs_wire.h`; where these are silent or disagree with what Debian's xenstored
//! 4.17 answers, the daemon's answer decides. Differences from it are listed in `docs/xenstored.md`.

pub mod connection;
mod control;
pub mod daemon;
pub mod database;
pub mod domain;
mod domains;
pub mod host;
pub mod journal;
pub mod node;
pub mod operations;
pub mod options;
pub mod platform;
pub mod quota;
mod recovery;
pub mod ring;
mod rings;
pub mod server;
pub mod start;
pub mod trace;
pub mod transaction;
pub mod watch;
mod watching;
