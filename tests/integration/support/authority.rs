use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use uuid::Uuid;

use crate::stack::{Postgres, TlsIdentity};

/// A CA of a test's own.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "pii-vault test CA");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { issuer: Issuer::new(params, key), certificate: certificate.pem() }
    }

    /// Writes the CA's certificate, for clients, to a file that goes with the server.
    pub(crate) fn file(&self, server: &Postgres) -> String {
        let file = server.folder().join(format!("ca-{}.pem", Uuid::new_v4()));
        std::fs::write(&file, &self.certificate).expect("written");
        file.into_os_string().into_string().expect("UTF-8")
    }

    /// For a server of this name.
    pub(crate) fn identity(&self, host: &str) -> TlsIdentity {
        self.sign(CertificateParams::new([host.to_owned()]).expect("parameters"))
    }

    pub(crate) fn expired_identity(&self, host: &str) -> TlsIdentity {
        let mut params = CertificateParams::new([host.to_owned()]).expect("parameters");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> TlsIdentity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        TlsIdentity { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}
