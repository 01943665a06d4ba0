//! What the daemon needs from Xen and from dom0's kernel.
//!
//! The real one is [`super::host`]; tests have one of their own.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU8, AtomicU32};

use hypercall_abi::DomId;
use hypercall_abi::io::xs_wire::RING_SIZE;

/// A port of an event channel at our end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalPort(
    /// The number.
    pub u32,
);

/// What Xen says about a domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DomainState {
    /// It has shut down or crashed and waits for the toolstack.
    pub shutdown: bool,
    /// It is being destroyed.
    pub dying: bool,
}

/// The words of a ring page behind the two rings, by their index in [`Page::words`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Requests taken by us.
    ReqCons,
    /// Requests put by the domain.
    ReqProd,
    /// Answers taken by the domain.
    RspCons,
    /// Answers put by us.
    RspProd,
    /// What we can do.
    ServerFeatures,
    /// Whether the domain wants to start again.
    Connection,
    /// Why we do not talk any more.
    Error,
}

/// Number of [`Word`]s.
pub const WORDS: usize = 7;

/// A page shared with a domain (`xenstore_domain_interface`), which may change under our hands at any time.
pub trait Page {
    /// The requests.
    fn requests(&self) -> &[AtomicU8; RING_SIZE];
    /// The answers.
    fn responses(&self) -> &[AtomicU8; RING_SIZE];
    /// The words behind.
    fn words(&self) -> &[AtomicU32; WORDS];
}

/// Rings, events and news of domains.
pub trait Platform {
    /// What Xen says about a domain; `None` if there is none with this number.
    fn domain(&mut self, domain: DomId) -> Option<DomainState>;

    /// Maps the ring of a domain: the page that it granted with `GNTTAB_RESERVED_XENSTORE`, or for the control domain its kernel's.
    ///
    /// # Errors
    /// The domain or the grant does not exist.
    fn map(&mut self, domain: DomId) -> io::Result<Box<dyn Page>>;

    /// Binds to a port that the domain allocated for us.
    ///
    /// # Errors
    /// There is no such port.
    fn bind(&mut self, domain: DomId, remote: u32) -> io::Result<LocalPort>;

    /// Lets go of a port.
    fn unbind(&mut self, port: LocalPort);

    /// Sends an event.
    fn notify(&mut self, port: LocalPort);

    /// Readable when [`Self::take_events`] has something.
    fn event_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Takes events that have come; whether one of them is that a domain shut down or went away (`VIRQ_DOM_EXC`). Which ring an
    /// event is for does not matter: all are looked at.
    fn take_events(&mut self) -> bool {
        false
    }

    /// The port of the control domain's kernel, if it has one.
    fn kernel_port(&mut self) -> Option<u32>;
}

/// No Xen: a store for sockets only.
#[derive(Debug, Default)]
pub struct Nothing;

impl Platform for Nothing {
    fn domain(&mut self, domain: DomId) -> Option<DomainState> {
        (domain == DomId(0)).then(DomainState::default)
    }

    fn map(&mut self, _: DomId) -> io::Result<Box<dyn Page>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn bind(&mut self, _: DomId, _: u32) -> io::Result<LocalPort> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn unbind(&mut self, _: LocalPort) {}

    fn notify(&mut self, _: LocalPort) {}

    fn kernel_port(&mut self) -> Option<u32> {
        None
    }
}
