//! The first console's nodes.

use super::{Kind, Paths};
use crate::store::{Batch, Perms};

/// Of `domain`, whose console ring is the frame `mfn` and whose port is `port`.
#[must_use]
pub fn nodes(domain: u16, mfn: u64, port: u32) -> Batch {
    let Paths {
        frontend,
        backend,
        libxl,
    } = Paths::of(domain, Kind::Console, 0);
    let read_by = Perms::read_by(domain);
    let mut batch = Batch::new();
    batch.add_with(&frontend, "", &read_by);
    batch.add(format!("{frontend}/backend"), &backend);
    // The guest's own, as libxl leaves it; every other node is read-only to the guest.
    batch.add_with(
        format!("{frontend}/backend-id"),
        "0",
        &Perms::owned_by_read_by(domain, 0),
    );
    batch.add_all(
        &frontend,
        [
            ("limit", "1048576".to_owned()),
            ("type", "xenconsoled".to_owned()),
            ("output", "pty".to_owned()),
            ("tty", String::new()),
            ("port", port.to_string()),
            ("ring-ref", mfn.to_string()),
        ],
    );
    let ends = [
        ("frontend", frontend.clone()),
        ("frontend-id", domain.to_string()),
        ("online", "1".to_owned()),
        ("state", "1".to_owned()),
        ("protocol", "vt100".to_owned()),
    ];
    batch.add_with(&backend, "", &read_by);
    batch.add_all(&backend, ends.clone());
    batch.add_with(&libxl, "", &Perms::private());
    batch.add(format!("{libxl}/frontend"), &frontend);
    batch.add(format!("{libxl}/backend"), &backend);
    batch.add_all(&libxl, ends.into_iter().skip(1));
    batch
}
