//! Asking guests to end, and waiting until they have.

use std::time::{Duration, Instant};

use hypercall_abi::xen::DomId;

use super::{Code, State, ToolError, Toolstack};
use crate::store::{Tx, transact};

/// How a guest is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// To power off.
    Poweroff,
    /// To start again.
    Reboot,
}

impl Ending {
    /// The word in the guest's `control/shutdown`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Poweroff => "poweroff",
            Self::Reboot => "reboot",
        }
    }
}

/// Asks `domain` to end. `force` asks even a guest that does not say that it listens.
///
/// # Errors
/// The guest does not listen (yet).
pub fn shut_down(
    tools: &Toolstack,
    domain: u16,
    ending: Ending,
    force: bool,
) -> Result<(), ToolError> {
    let control = format!("/local/domain/{domain}/control");
    let feature = format!("{control}/feature-{}", ending.word());
    let listens = tools.store.text(&feature)?.is_some_and(|text| text == "1");
    if !listens && !force {
        return Err(ToolError::new(
            Code::GuestRefused,
            format!(
                "domain {domain} does not listen for {} (it has not started yet, or its kernel cannot): try again later, ask all \
                 the same with -F, or end it with xeno destroy {domain}",
                ending.word()
            ),
        ));
    }
    ask(tools, domain, ending.word())
}

/// Writes `word` to the guest's `control/shutdown`.
pub(super) fn ask(tools: &Toolstack, domain: u16, word: &str) -> Result<(), ToolError> {
    let control = format!("/local/domain/{domain}/control");
    transact(&*tools.store, |tx| -> Result<(), ToolError> {
        // Not for a domain that has gone meanwhile, whose node would appear again.
        if tools.store.read(tx, &control)?.is_some() {
            let node = format!("{control}/shutdown");
            tools.store.write(tx, &node, word.as_bytes())?;
        }
        Ok(())
    })
}

/// Sends a system request key.
///
/// # Errors
/// The guest has no such control.
pub fn sysrq(tools: &Toolstack, domain: u16, key: char) -> Result<(), ToolError> {
    let control = format!("/local/domain/{domain}/control");
    if tools.store.text(&control)?.is_none() {
        return Err(ToolError::new(
            Code::GuestRefused,
            format!("domain {domain} has no control/sysrq in xenstore"),
        ));
    }
    tools.store.write(
        Tx::NONE,
        &format!("{control}/sysrq"),
        key.to_string().as_bytes(),
    )?;
    Ok(())
}

/// Waits until each of `domains` has ended or gone. `timeout` of None waits for ever.
///
/// # Errors
/// It took longer.
pub fn wait_for_end(
    tools: &Toolstack,
    domains: &[u16],
    timeout: Option<Duration>,
) -> Result<(), ToolError> {
    const TOKEN: &str = "end";
    tools.store.watch("@releaseDomain", TOKEN)?;
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let result = loop {
        let mut running = Vec::new();
        for domain in domains {
            let info = tools.xen.domain_info(DomId(*domain))?;
            let ended = info.is_none_or(|info| {
                let state = State::of(&info);
                state.shutdown.is_some() || state.dying
            });
            if !ended {
                running.push(*domain);
            }
        }
        if running.is_empty() {
            break Ok(());
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            let list: Vec<String> = running.iter().map(u16::to_string).collect();
            break Err(ToolError::new(
                Code::Timeout,
                format!("still running: domain {}", list.join(", ")),
            ));
        }
        tools.store.event(left)?;
    };
    tools.store.unwatch("@releaseDomain", TOKEN)?;
    result
}
