//! The real binary on real PostgreSQL and on endpoints that speak AWS's protocols. A file for each command.
#![allow(
    clippy::as_conversions,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../stack/mod.rs"]
mod stack;
mod support;

mod access;
mod access_policy;
mod access_races;
mod audit_export;
mod audit_list;
mod audit_notary;
mod audit_reconcile;
mod audit_report;
mod audit_resume;
mod audit_tamperings;
mod audit_verify;
mod aws;
mod canary;
mod canary_panic;
mod database_iam;
mod database_passwords;
mod database_rights;
mod database_secret;
mod database_tls;
mod dead_letters;
mod dead_letters_redrive;
mod dead_letters_redrive_covered;
mod dead_letters_redrive_role;
mod decoder;
mod doctor;
mod doctor_rotation;
mod etl_run;
mod etl_run_faults;
mod etl_run_input;
mod etl_run_limits;
mod etl_run_options;
mod etl_run_receive;
mod etl_run_redelivery;
mod etl_run_stop;
mod etl_run_visibility;
mod genuine;
mod identities;
mod in_the_database;
mod ingest_role;
mod init;
mod key_rotation_abandon;
mod key_rotation_audit;
mod key_rotation_audit_tables;
mod key_rotation_claim;
mod key_rotation_cut_over;
mod key_rotation_cut_over_foreign;
mod key_rotation_cut_over_killed;
mod key_rotation_cut_over_readers;
mod key_rotation_cut_over_refused;
mod key_rotation_cut_over_search;
mod key_rotation_cut_over_twice;
mod key_rotation_data_key;
mod key_rotation_data_key_faults;
mod key_rotation_data_key_races;
mod key_rotation_data_key_role;
mod key_rotation_data_key_sample;
mod key_rotation_handouts;
mod key_rotation_kek;
mod key_rotation_memory;
mod key_rotation_pace;
mod key_rotation_plan;
mod key_rotation_raced;
mod key_rotation_status;
mod key_rotation_status_keys;
mod key_rotation_token_key;
mod key_rotation_token_key_amid;
mod key_rotation_token_key_done;
mod key_rotation_token_key_due;
mod key_rotation_token_key_faults;
mod key_rotation_token_key_killed;
mod key_rotation_token_key_kms;
mod key_rotation_token_key_races;
mod key_rotation_token_key_role;
mod lookup;
mod lookup_role;
mod partitions;
mod repair_default;
mod restored;
mod retention;
mod unmask;
mod unmask_failures;
mod unmask_faults;
mod unmask_faults_connection;
mod unmask_faults_disk;
mod unmask_faults_kms;
mod unmask_faults_words;
mod unmask_formats;
mod unmask_out;
mod unmask_pages;
mod unmask_role_crash;
mod unmask_role_prepared;
mod unmask_role_queue;
mod unmask_role_races;
mod unmask_role_receipts;
mod unmask_role_refused;
mod unmask_role_rows;
mod unmask_role_silence;
mod unmask_role_time;
mod unmask_scale;
