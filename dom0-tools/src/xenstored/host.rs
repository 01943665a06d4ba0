//! What the daemon needs of Xen, through the devices of dom0's kernel.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use hypercall_abi::DomId;
use hypercall_abi::grant_table::GNTTAB_RESERVED_XENSTORE;
use hypercall_abi::xen::Virq;

use super::platform::{DomainState, LocalPort, Page, Platform};
use crate::domain::State;
use crate::sys::event_channel::EventChannels;
use crate::sys::gntdev::GrantMaps;
use crate::sys::store_page::RingPage;
use crate::sys::xenbus_backend;
use crate::xen::Xen;
use crate::xen::live::LiveXen;

/// The devices.
pub struct Host {
    events: EventChannels,
    grants: GrantMaps,
    xen: Box<dyn Xen>,
    news: u32,
}

impl Host {
    /// Opens the devices and asks for news of domains (`VIRQ_DOM_EXC`).
    ///
    /// # Errors
    /// A device is missing, or another daemon has the news; the text says which.
    pub fn open() -> Result<Self, String> {
        let device = |name: &str, error: io::Error| format!("cannot open /dev/xen/{name}: {error}");
        let events = EventChannels::open().map_err(|error| device("evtchn", error))?;
        let news = events
            .bind_virq(u32::from(Virq::DOM_EXC.0 as u8))
            .map_err(|error| format!("cannot get news of domains: {error}"))?;
        Ok(Self {
            events,
            grants: GrantMaps::open().map_err(|error| device("gntdev", error))?,
            xen: Box::new(LiveXen::open().map_err(|error| error.to_string())?),
            news,
        })
    }
}

impl Platform for Host {
    fn domain(&mut self, domain: DomId) -> Option<DomainState> {
        let info = self.xen.domain_info(domain).ok()??;
        let state = State::of(&info);
        Some(DomainState {
            shutdown: state.shutdown.is_some(),
            dying: state.dying,
        })
    }

    fn map(&mut self, domain: DomId) -> io::Result<Box<dyn Page>> {
        let page = if domain == DomId(0) {
            xenbus_backend::map_ring()?
        } else {
            self.grants.map(domain.0, GNTTAB_RESERVED_XENSTORE)?
        };
        Ok(Box::new(RingPage::new(page)))
    }

    fn bind(&mut self, domain: DomId, remote: u32) -> io::Result<LocalPort> {
        self.events
            .bind_interdomain(domain.0, remote)
            .map(LocalPort)
    }

    fn unbind(&mut self, port: LocalPort) {
        // A port that is gone needs no unbinding.
        let _ = self.events.unbind(port.0);
    }

    fn notify(&mut self, port: LocalPort) {
        // A domain that is gone needs no event.
        let _ = self.events.notify(port.0);
    }

    fn event_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.events.as_fd())
    }

    fn take_events(&mut self) -> bool {
        // Nothing to read is not an error worth telling, and after any other the next poll tries again.
        let ports = self.events.pending().unwrap_or_default();
        for port in &ports {
            let _ = self.events.unmask(*port);
        }
        ports.contains(&self.news)
    }

    fn kernel_port(&mut self) -> Option<u32> {
        xenbus_backend::port()
    }
}
