//! The adapters themselves, where a whole command cannot show what they do.

use std::time::Duration;

use pii_vault::aws::{AwsFault, Queue as _, ReceiptHandle, Sqs};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::support::{World, login};

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_not_deleted_is_told_by_its_own_receipt() {
    let world = World::empty().await;
    world.send_logins(4).await;
    let sqs = world.sqs().await;
    let messages = sqs.receive(10, Duration::from_secs(1)).await.unwrap();
    let mut receipts: Vec<_> = messages.into_iter().map(|message| message.receipt).collect();
    let forged = ReceiptHandle("forged".to_owned());
    receipts.insert(2, forged.clone());
    let deletion = sqs.delete(receipts).await.unwrap();
    assert_eq!((deletion.failed, deletion.refused), (vec![], vec![forged]));
    assert_eq!(world.queue_depth().await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_waits_for_a_first_message() {
    let world = World::empty().await;
    let sqs = world.sqs().await;
    let (messages, _) = tokio::join!(sqs.receive(10, Duration::from_secs(5)), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.send([login(1).to_string()]).await
    });
    assert_eq!(messages.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_came_too_late_for_its_alias_is_deleted_again() {
    let world = World::empty().await;
    let mut key = world.kms_keys().all()[0].clone();
    // By which this world's keys are found among those of all others.
    key.description = format!("of {}", world.id).leak();
    let kms = world.kms().await;
    kms.create(&key).await.unwrap();
    kms.create(&key).await.unwrap();

    let client = aws_sdk_kms::Client::new(&world.kms_config().await);
    let mut states = Vec::new();
    for entry in client.list_keys().limit(1000).send().await.unwrap().keys() {
        let described = client.describe_key().key_id(entry.key_id().unwrap()).send().await.unwrap();
        let metadata = described.key_metadata.unwrap();
        if metadata.description() == Some(key.description) {
            states.push(metadata.key_state.unwrap().as_str().to_owned());
        }
    }
    states.sort();
    assert_eq!(states, ["Enabled", "PendingDeletion"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_the_connection_is_away_and_missing_credentials_are_missing() {
    let world = World::empty().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            // All that was sent is read, so that the connection ends in order.
            let _ = client.read(&mut [0; 65536]).await;
        }
    });
    let config = world.sqs_config().await.into_builder().endpoint_url(&url).build();
    let fault = async |config: aws_config::SdkConfig| {
        let sqs = Sqs::new(&config, format!("{url}/queue"), Duration::from_secs(30));
        sqs.receive(1, Duration::from_secs(1)).await.unwrap_err().fault()
    };
    assert_eq!(fault(config.clone()).await, AwsFault::Unreachable);
    let mut without = config.clone().into_builder();
    without.set_credentials_provider(None);
    assert_eq!(fault(without.build()).await, AwsFault::NotConfigured);
    let mut without = config.clone().into_builder();
    without.set_region(None);
    assert_eq!(fault(without.build()).await, AwsFault::NotConfigured);
}
