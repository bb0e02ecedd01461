use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Stands before a server: keeps what clients send, and can keep answers from them.
pub(crate) struct Relay {
    pub(crate) port: u16,
    sent: Arc<Mutex<Vec<u8>>>,
    mute: Arc<AtomicBool>,
    cut: CancellationToken,
}

impl Relay {
    pub(crate) async fn before(server_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let relay = Self { port, sent: Arc::default(), mute: Arc::default(), cut: CancellationToken::new() };
        let (sent, mute, cut) = (relay.sent.clone(), relay.mute.clone(), relay.cut.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (sent, mute, cut) = (sent.clone(), mute.clone(), cut.clone());
                tokio::spawn(async move {
                    let server = TcpStream::connect(("127.0.0.1", server_port)).await.expect("the server");
                    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
                        (client.into_split(), server.into_split());
                    let there = async {
                        let mut bytes = [0; 8192];
                        while let Ok(count @ 1..) = from_client.read(&mut bytes).await {
                            sent.lock().expect("not poisoned").extend_from_slice(&bytes[..count]);
                            if to_server.write_all(&bytes[..count]).await.is_err() {
                                break;
                            }
                        }
                    };
                    let back = async {
                        let mut bytes = [0; 8192];
                        while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
                            if !mute.load(Ordering::SeqCst) && to_client.write_all(&bytes[..count]).await.is_err() {
                                break;
                            }
                        }
                    };
                    tokio::select! { () = there => {} () = back => {} () = cut.cancelled() => {} }
                });
            }
        });
        relay
    }

    /// All that clients sent so far.
    pub(crate) fn sent(&self) -> String {
        String::from_utf8_lossy(&self.sent.lock().expect("not poisoned")).into_owned()
    }

    /// From now on no answer arrives.
    pub(crate) fn mute(&self) {
        self.mute.store(true, Ordering::SeqCst);
    }

    /// Ends all connections.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }
}
