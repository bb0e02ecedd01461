//! KMS is away, refuses or hangs, from the first key on or between two pages.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::Pages;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nobody answers the door.
    Down,
    Denies,
    Hangs,
    /// The answer is lost, with the connection.
    Cuts,
}

/// Stands before KMS, and has a fault from the request `from` on, counted from 0.
async fn before(kms_port: u16, from: usize, fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            if !(fault == Fault::Down && requests.load(Ordering::SeqCst) >= from) {
                tokio::spawn(pass(client, kms_port, from, fault, requests.clone()));
            }
        }
    });
    url
}

async fn pass(client: TcpStream, kms_port: u16, from: usize, fault: Fault, requests: Arc<AtomicUsize>) {
    const DENIED: &str = r#"{"__type":"AccessDeniedException","message":"not you"}"#;
    let server = TcpStream::connect(("127.0.0.1", kms_port)).await.unwrap();
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let (mut asked, mut answered) = ([0; 8192], [0; 8192]);
    loop {
        tokio::select! {
            Ok(count @ 1..) = from_client.read(&mut asked) => {
                let is_request = String::from_utf8_lossy(&asked[..count]).contains("TrentService.Decrypt");
                let number = requests.fetch_add(usize::from(is_request), Ordering::SeqCst);
                if !is_request || number < from {
                    to_server.write_all(&asked[..count]).await.unwrap();
                    continue;
                }
                match fault {
                    Fault::Down => return,
                    Fault::Hangs => return std::future::pending().await,
                    Fault::Cuts => to_server.write_all(&asked[..count]).await.unwrap(),
                    Fault::Denies => {
                        let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.1\r\nConnection: close";
                        let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{DENIED}", DENIED.len());
                        to_client.write_all(answer.as_bytes()).await.unwrap();
                    }
                }
            }
            Ok(count @ 1..) = from_server.read(&mut answered) => {
                if fault == Fault::Cuts && requests.load(Ordering::SeqCst) > from {
                    return;
                }
                to_client.write_all(&answered[..count]).await.unwrap();
            }
            else => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_comes_whose_key_does_not_and_those_before_it_stay() {
    let pages = Pages::new().await;
    let one = async |from: usize, fault: Fault| {
        let url = before(pages.world.kms_port(), from, fault).await;
        let what = format!("KMS {fault:?} from request {from}");
        let run = pages.start(&what, from.is_multiple_of(2), &[("AWS_ENDPOINT_URL_KMS", &url)]);
        let ended = run.ended(&pages.world).await;
        let rows = [0, 500, 1_000][from];
        assert_eq!((ended.code, ended.recorded), (Some(1), true), "{what}: {}", ended.said);
        assert_eq!((ended.rows, ended.settled), (rows, rows), "{what}: {}", ended.said);
        assert!(ended.said.contains("kms:Decrypt"), "{what}: {}", ended.said);
    };
    // A call that hangs is given up after ten seconds.
    let hangs = async { tokio::join!(one(0, Fault::Hangs), one(2, Fault::Hangs)) };
    let others = async {
        for from in 0..3 {
            for fault in [Fault::Down, Fault::Denies, Fault::Cuts] {
                one(from, fault).await;
            }
        }
    };
    tokio::join!(hangs, others);
}
