use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::stack::TlsIdentity;

/// Stands before a server that asks for nothing, as RDS does before its PostgreSQL: takes TLS alone, asks for a
/// password in clear, and keeps what it got.
pub(crate) struct Gate {
    pub(crate) port: u16,
    passwords: Arc<Mutex<Vec<String>>>,
}

impl Gate {
    pub(crate) async fn before(server_port: u16, identity: &TlsIdentity) -> Self {
        let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("PEM");
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("an identity");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let gate = Self { port: listener.local_addr().expect("bound").port(), passwords: Arc::default() };
        let passwords = gate.passwords.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, passwords) = (acceptor.clone(), passwords.clone());
                // A client that goes away in the middle is none of the gate's business.
                tokio::spawn(async move { pass(client, server_port, acceptor, &passwords).await.ok() });
            }
        });
        gate
    }

    /// The password of each connection, in order.
    pub(crate) fn passwords(&self) -> Vec<String> {
        self.passwords.lock().expect("not poisoned").clone()
    }
}

/// PostgreSQL documentation, "Message Formats".
async fn pass(
    mut client: TcpStream,
    port: u16,
    acceptor: TlsAcceptor,
    passwords: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let request = message(&mut client).await?;
    assert_eq!(request, [0, 0, 0, 8, 4, 210, 22, 47], "SSLRequest comes first");
    client.write_all(b"S").await?;
    let mut client = acceptor.accept(client).await?;
    let startup = message(&mut client).await?;
    // AuthenticationCleartextPassword.
    client.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3]).await?;
    client.flush().await?;
    assert_eq!(client.read_u8().await?, b'p', "PasswordMessage");
    let password = message(&mut client).await?;
    let password = String::from_utf8_lossy(&password[4..password.len() - 1]).into_owned();
    passwords.lock().expect("not poisoned").push(password);
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    server.write_all(&startup).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// With its length before it.
async fn message(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut message = length.to_be_bytes().to_vec();
    message.resize(usize::try_from(length).expect("short"), 0);
    from.read_exact(&mut message[4..]).await?;
    Ok(message)
}
