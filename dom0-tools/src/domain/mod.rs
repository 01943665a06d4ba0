//! The life of a domain: finding, creating, pausing, shutting down and destroying it, and what is listed of it.

mod balloon;
mod create;
mod destroy;
mod error;
mod libxl_config;
mod libxl_json;
mod lookup;
mod power;
mod record;
mod save;
mod state;
mod store_nodes;
mod supervise;
mod vcpus;

pub use balloon::{free_pages_for, holders, set_max_memory, set_memory};
pub use create::{Created, Running, Start, create, restore};
pub use destroy::destroy;
pub use error::{Code, ToolError};
pub use libxl_config::parse as parse_libxl_config;
pub use lookup::{all, find, name_of, rename, uuid_of};
pub use power::{Ending, shut_down, sysrq, wait_for_end};
pub use record::Record;
pub use save::{AfterSave, save};
pub use state::{Reason, State};
pub use supervise::{action_for, ensure_supervisor, supervise};
pub use vcpus::{VcpuLine, pin, ranges, set_online, vcpu_lines};

use crate::store::{Connection, Store};
use crate::xen::Xen;
use crate::xen::live::LiveXen;

/// The domain that runs the toolstack and the back ends.
pub const DOM0: u16 = 0;

/// What every operation needs: the hypervisor and the store.
pub struct Toolstack {
    /// Makes hypercalls.
    pub xen: Box<dyn Xen>,
    /// Reads and writes xenstore.
    pub store: Box<dyn Store>,
}

impl Toolstack {
    /// Connects to both.
    ///
    /// # Errors
    /// One of them cannot be reached; the message says what to do.
    pub fn open() -> Result<Self, ToolError> {
        Ok(Self {
            xen: Box::new(LiveXen::open()?),
            store: Box::new(Connection::open()?),
        })
    }
}
