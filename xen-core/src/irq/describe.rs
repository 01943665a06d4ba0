//! Interrupts in words, for the debug keys.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::desc::Source;
use super::table::IrqTable;

impl IrqTable {
    /// One line for each interrupt that has a vector or a handler.
    #[must_use]
    pub fn describe_irqs(&self) -> Vec<String> {
        let state = self.state.lock();
        let used = state
            .descs
            .iter()
            .filter(|(_, desc)| desc.vector.is_some() || desc.count != 0);
        let mut lines: Vec<String> = used
            .map(|(irq, desc)| {
                let mut line = format!(
                    "IRQ:{irq:4} vec:{:02x} CPU{} {:?}/{:?} {:?} count={} stray={}",
                    desc.vector.map_or(0, |vector| vector.0),
                    desc.cpu.0,
                    desc.trigger,
                    desc.polarity,
                    desc.handler,
                    desc.count,
                    desc.strays,
                );
                if desc.throttled {
                    line.push_str(" throttled");
                }
                for subscriber in &desc.subscribers {
                    let mark = if subscriber.in_service { 'M' } else { '-' };
                    line.push_str(&format!(
                        " d{}:{}({mark})",
                        subscriber.domain.0, subscriber.pirq.0
                    ));
                }
                line
            })
            .collect();
        lines.push(format!(
            "interrupts with an unused vector: {}",
            state.unknown
        ));
        lines
    }

    /// One line for each message-signalled interrupt.
    #[must_use]
    pub fn describe_msi(&self) -> Vec<String> {
        let state = self.state.lock();
        let messages = state
            .descs
            .iter()
            .filter_map(|(irq, desc)| match desc.source {
                Source::Msi(source) => Some((irq, desc, source)),
                Source::Gsi(_) => None,
            });
        messages
            .map(|(irq, desc, source)| {
                let kind = match source.entry {
                    Some(entry) => format!("MSI-X entry {entry}"),
                    None => String::from("MSI"),
                };
                let vector = desc.vector.map_or(0, |vector| vector.0);
                format!(
                    "IRQ:{irq:4} vec:{vector:02x} CPU{} {} {kind}",
                    desc.cpu.0, source.device
                )
            })
            .collect()
    }

    /// One line for each announced PCI function.
    #[must_use]
    pub fn describe_pci(&self) -> Vec<String> {
        let state = self.state.lock();
        state
            .devices
            .iter()
            .map(|(address, device)| {
                let mut line = format!("{address}");
                if let Some(physical) = device.virtual_of {
                    line.push_str(&format!(" virtual function of {physical}"));
                }
                if device.extended {
                    line.push_str(" extended");
                }
                if let Some(proximity) = device.proximity {
                    line.push_str(&format!(" node {proximity}"));
                }
                line
            })
            .collect()
    }
}
