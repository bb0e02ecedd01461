use time::Date;
use time::macros::format_description;
use uuid::Uuid;

use crate::db::receipts::Selector;

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Which rows (any value of a kind, and all kinds that are given; at most 100,000 rows)")]
pub(super) struct Which {
    /// The event with this id; can be repeated
    #[arg(long, value_name = "UUID")]
    event_id: Vec<Uuid>,
    /// The logins of this user; can be repeated
    #[arg(long, value_name = "ID")]
    user_id: Vec<String>,
    /// Logins from the ip with this token, the masked_ip of user_logins; can be repeated
    #[arg(long, value_name = "TOKEN", value_parser = token, allow_hyphen_values = true)]
    masked_ip: Vec<String>,
    /// Logins from the device with this token, the masked_device_id; can be repeated
    #[arg(long, value_name = "TOKEN", value_parser = token, allow_hyphen_values = true)]
    masked_device_id: Vec<String>,
    /// Since this UTC day. Days alone select too, if both ends are given
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    since: Option<Date>,
    /// Until this UTC day, and with it
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    until: Option<Date>,
}

impl From<Which> for Selector {
    fn from(which: Which) -> Self {
        Self {
            event_ids: which.event_id,
            user_ids: which.user_id,
            masked_ips: which.masked_ip,
            masked_device_ids: which.masked_device_id,
            since: which.since,
            until: which.until,
        }
    }
}

fn token(text: &str) -> Result<String, &'static str> {
    let of_base64url = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if text.len() == 43 && text.as_bytes().iter().all(of_base64url) {
        return Ok(text.to_owned());
    }
    Err("a token is 43 letters, digits, - or _, as user_logins shows it")
}

fn day(text: &str) -> Result<Date, &'static str> {
    Date::parse(text, format_description!("[year]-[month]-[day]"))
        .ok()
        .filter(|day| day.year() >= 1)
        .ok_or("a day is YYYY-MM-DD, like 2025-03-09")
}
