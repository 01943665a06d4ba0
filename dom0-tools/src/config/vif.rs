//! Network card specifications: `mac=...,bridge=...,...`.
//!
//! Contract: xl-network-configuration(5).

use serde::{Deserialize, Serialize};

use super::Mac;

/// A limit of what the guest may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Bytes per interval.
    pub bytes: u64,
    /// The interval in microseconds.
    pub microseconds: u64,
}

/// A network card of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vif {
    /// Its MAC address as text; chosen when it is absent.
    pub mac: Option<String>,
    /// The bridge; `xenbr0` when it is absent.
    pub bridge: Option<String>,
    /// Addresses that the guest may use; told to the back end.
    pub ip: Option<String>,
    /// The name of dom0's end.
    pub vifname: Option<String>,
    /// The limit of what it sends.
    pub rate: Option<Rate>,
    /// The largest packet.
    pub mtu: Option<u32>,
}

impl Vif {
    /// Parses a specification.
    ///
    /// # Errors
    /// What is wrong and what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut vif = Self::default();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| format!("\"{part}\": expected key=value such as bridge=xenbr0"))?;
            vif.set(key.trim(), value.trim())?;
        }
        Ok(vif)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "mac" => {
                let mac = Mac::parse(value).ok_or_else(|| {
                    format!("mac={value}: expected six pairs of hexadecimal digits such as 00:16:3e:01:02:03")
                })?;
                if mac.0[0] & 1 != 0 {
                    return Err(format!(
                        "mac={value} is a group address: the first pair must be even"
                    ));
                }
                self.mac = Some(mac.to_string());
            }
            "bridge" => self.bridge = Some(interface_name(key, value)?),
            "vifname" => self.vifname = Some(interface_name(key, value)?),
            "ip" => self.ip = Some(value.to_owned()),
            "rate" => self.rate = Some(rate(value)?),
            "mtu" => {
                let mtu = value.parse().ok().filter(|mtu| (68..=65535).contains(mtu));
                let mtu =
                    mtu.ok_or_else(|| format!("mtu={value}: expected a number from 68 to 65535"))?;
                self.mtu = Some(mtu);
            }
            "type" if value == "vif" => {}
            "type" => {
                return Err(format!(
                    "type={value}: a PV guest has network cards of type vif only"
                ));
            }
            // What a PV guest's card has no use for, or what is the only choice anyway.
            "model" | "gatewaydev" | "accel" => {}
            "trusted" | "devid" => {}
            "backend" if matches!(value, "0" | "Domain-0") => {}
            "backend" => {
                return Err(format!(
                    "backend={value}: driver domains are not supported, leave it out"
                ));
            }
            "script" => {
                return Err(format!(
                    "script={value}: network cards are attached without scripts, leave it out and name a bridge"
                ));
            }
            _ => {
                return Err(format!(
                    "unknown key {key}: expected mac, bridge, ip, vifname, rate, mtu or type"
                ));
            }
        }
        Ok(())
    }
}

/// A name that Linux takes for a network interface.
fn interface_name(key: &str, value: &str) -> Result<String, String> {
    let fits = (1..16).contains(&value.len())
        && !value.contains(|char: char| char == '/' || char.is_whitespace());
    if fits && value != "." && value != ".." {
        Ok(value.to_owned())
    } else {
        Err(format!(
            "{key}={value}: expected the name of a network interface, at most 15 characters"
        ))
    }
}

/// `10Mb/s`, `250KB/s@20ms`: a rate in bits (b) or bytes (B), and the interval, 50 ms by default.
fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || format!("rate={text}: expected for example 10Mb/s or 250KB/s@20ms");
    let (amount, interval) = text.split_once('@').unwrap_or((text, "50ms"));
    let amount = amount.strip_suffix("/s").ok_or_else(wrong)?;
    let digits = amount.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = amount.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let (factor, unit) = match unit.strip_prefix(['K', 'M', 'G']) {
        Some(rest) => (
            match unit.as_bytes().first() {
                Some(b'K') => 1000,
                Some(b'M') => 1_000_000,
                _ => 1_000_000_000,
            },
            rest,
        ),
        None => (1, unit),
    };
    let per_second = match unit {
        "B" => number.checked_mul(factor),
        "b" => number.checked_mul(factor).map(|bits| bits / 8),
        _ => None,
    }
    .ok_or_else(wrong)?;
    let digits = interval.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = interval.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let microseconds = match unit {
        "us" => Some(number),
        "ms" => number.checked_mul(1000),
        "s" => number.checked_mul(1_000_000),
        _ => None,
    }
    .filter(|interval| *interval > 0)
    .ok_or_else(wrong)?;
    let bytes = u128::from(per_second) * u128::from(microseconds) / 1_000_000;
    let bytes = u64::try_from(bytes).map_err(|_| wrong())?;
    // netback takes 32 bits.
    if bytes == 0 || bytes > u64::from(u32::MAX) {
        return Err(format!(
            "rate={text}: too small or too large for its interval"
        ));
    }
    Ok(Rate {
        bytes,
        microseconds,
    })
}
