use serde::Deserialize;

/// A field of a login event that is personal data and therefore protected.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// The client's IP address.
    Ip,
    /// The device's identifier.
    DeviceId,
}

impl Field {
    /// All of them, in column order.
    pub const ALL: [Self; 2] = [Self::Ip, Self::DeviceId];

    /// The name under which a token key is derived for it, and which the CLI uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::DeviceId => "device_id",
        }
    }

    /// The column of `pii_vault.login_events` that holds its sealed form, and that the seal is bound to.
    #[must_use]
    pub fn ciphertext_column(self) -> &'static str {
        match self {
            Self::Ip => "ip_ciphertext",
            Self::DeviceId => "device_id_ciphertext",
        }
    }
}
