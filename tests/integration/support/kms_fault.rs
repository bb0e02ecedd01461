use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::World;

/// Stands before KMS, and answers calls itself with an exception of AWS's while it is told to.
pub(crate) struct KmsFault {
    pub(crate) url: String,
    code: watch::Sender<Option<Injected>>,
    answered: Arc<AtomicUsize>,
}

/// An exception, and what is in the calls that get it.
type Injected = (&'static str, &'static str);

impl KmsFault {
    pub(crate) async fn before(kms_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let fault = Self { url, code: watch::Sender::new(None), answered: Arc::default() };
        let (code, answered) = (fault.code.subscribe(), fault.answered.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (code, answered) = (code.clone(), answered.clone());
                // Who goes away in the middle is none of its business.
                tokio::spawn(async move { pass(client, kms_port, code, answered).await.ok() });
            }
        });
        fault
    }

    /// The exception that each call gets from now on; `None`: KMS's own answer.
    pub(crate) fn set(&self, code: Option<&'static str>) {
        self.code.send_replace(code.map(|code| (code, "")));
    }

    /// The exception that each call about a key of this purpose gets from now on.
    pub(crate) fn set_of(&self, purpose: &'static str, code: &'static str) {
        self.code.send_replace(Some((code, purpose)));
    }

    /// How many calls got an exception so far.
    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }
}

impl World {
    /// Takes a KMS key (ARN) out of use, or back into it, in KMS itself.
    pub(crate) async fn set_kms_key_enabled(&self, kms_key: &str, enabled: bool) {
        let kms = aws_sdk_kms::Client::new(&self.kms_config().await);
        // moto takes ids alone.
        let id = kms_key.rsplit('/').next().expect("an id");
        if enabled {
            kms.enable_key().key_id(id).send().await.expect("enabled");
        } else {
            kms.disable_key().key_id(id).send().await.expect("disabled");
        }
    }
}

async fn pass(
    mut client: TcpStream,
    kms_port: u16,
    code: watch::Receiver<Option<Injected>>,
    answered: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(("127.0.0.1", kms_port)).await?;
    let (mut asked, mut answer) = ([0; 16_384], [0; 16_384]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let count = read?;
                if count == 0 {
                    return Ok(());
                }
                let now = *code.borrow();
                let is_of = |purpose: &str| String::from_utf8_lossy(&asked[..count]).contains(purpose);
                let Some((code, _)) = now.filter(|(_, purpose)| is_of(purpose)) else {
                    server.write_all(&asked[..count]).await?;
                    continue;
                };
                answered.fetch_add(1, Ordering::SeqCst);
                let body = format!(r#"{{"__type":"{code}","message":"injected"}}"#);
                let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.1\r\nConnection: close";
                let whole = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                return client.write_all(whole.as_bytes()).await;
            }
            read = server.read(&mut answer) => {
                let count = read?;
                if count == 0 {
                    return Ok(());
                }
                client.write_all(&answer[..count]).await?;
            }
        }
    }
}
