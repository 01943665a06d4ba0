//! Domains the store has to do with.

use hypercall_abi::DomId;

use super::connection::ConnectionId;
use super::platform::{LocalPort, Page};
use super::ring::Ring;

/// A domain that was introduced, or that owns something.
#[derive(Debug, Default)]
pub struct Domain {
    /// Its ring, from INTRODUCE to RELEASE or its end.
    pub link: Option<Link>,
    /// Its shutdown has been told (`@releaseDomain`).
    pub shutdown_told: bool,
}

/// The ring of a domain.
pub struct Link {
    /// The connection over it.
    pub connection: ConnectionId,
    /// The port that the domain allocated.
    pub remote_port: u32,
    /// Ours; `None` if it could not be bound (again).
    pub port: Option<LocalPort>,
    /// The shared page; `None` if it could not be mapped after a restart.
    pub page: Option<Box<dyn Page>>,
    /// How far it is read and written.
    pub ring: Ring,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("connection", &self.connection)
            .field("remote_port", &self.remote_port)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// Whether this is a number that a guest can have.
#[must_use]
pub fn is_real(domain: DomId) -> bool {
    domain < DomId::FIRST_RESERVED
}
