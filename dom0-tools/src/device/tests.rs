//! The nodes of devices, as libxl leaves them for stock front ends and tools.

use super::*;
use crate::store::Batch;

fn value<'a>(batch: &'a Batch, path: &str) -> Option<&'a str> {
    batch
        .iter()
        .find(|(other, _)| *other == path)
        .map(|(_, value)| value)
}

#[test]
fn a_network_card_has_what_netback_and_netfront_read() {
    let vif = Vif::parse("mac=00:16:3e:00:00:07,bridge=xenbr0,rate=10Mb/s,ip=10.0.0.2").unwrap();
    let batch = vif_nodes(5, 1, &vif);
    let front = "/local/domain/5/device/vif/1";
    let back = "/local/domain/0/backend/vif/5/1";
    for (path, expected) in [
        (format!("{front}/backend"), back),
        (format!("{front}/mac"), "00:16:3e:00:00:07"),
        (format!("{front}/handle"), "1"),
        (format!("{back}/frontend"), front),
        (format!("{back}/frontend-id"), "5"),
        (format!("{back}/script"), "/etc/xen/scripts/vif-bridge"),
        (format!("{back}/rate"), "62500,50000"),
        (format!("{back}/ip"), "10.0.0.2"),
        (format!("{back}/hotplug-status"), ""),
        ("/libxl/5/device/vif/1/backend".to_owned(), back),
        ("/libxl/5/device/vif/1/bridge".to_owned(), "xenbr0"),
    ] {
        assert_eq!(value(&batch, &path), Some(expected), "{path}");
    }
    assert_eq!(value(&batch, &format!("{front}/mtu")), None);
}

#[test]
fn the_first_console_is_not_among_the_devices() {
    let batch = console::nodes(5, 1234, 2);
    assert_eq!(
        value(&batch, "/local/domain/5/console/ring-ref"),
        Some("1234")
    );
    assert_eq!(value(&batch, "/local/domain/5/console/port"), Some("2"));
    assert_eq!(value(&batch, "/local/domain/5/console/tty"), Some(""));
    assert_eq!(
        value(&batch, "/local/domain/0/backend/console/5/0/frontend"),
        Some("/local/domain/5/console")
    );
}

#[test]
fn addresses_are_given_once_and_kept() {
    let first = Mac::of([1; 16], 0).to_string();
    assert_eq!(first, Mac::of([1; 16], 0).to_string());
    assert_ne!(first, Mac::of([2; 16], 0).to_string());
}
