"""Makes users and roles of IAM, each with at most one inline policy, and prints their credentials.

Standard input: {"endpoint": URL, "account": twelve digits, "principals": [{"kind": "user" or "role", "name": ...,
"policy": policy document or null}]}. Standard output: a list in the same order of {"access_key_id", "secret_access_key",
"session_token": null for a user}. ministack takes an account's number as the access key of its root.
"""

import json
import sys

import boto3


def main():
    request = json.load(sys.stdin)
    account = request["account"]
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": "sts:AssumeRole"}
        ],
    }
    iam, sts = (
        boto3.client(
            service,
            endpoint_url=request["endpoint"],
            region_name="us-east-1",
            aws_access_key_id=account,
            aws_secret_access_key="any-will-do",
        )
        for service in ("iam", "sts")
    )

    def user(name, policy):
        iam.create_user(UserName=name)
        if policy:
            iam.put_user_policy(UserName=name, PolicyName="pii-vault", PolicyDocument=json.dumps(policy))
        return credentials(iam.create_access_key(UserName=name)["AccessKey"])

    def role(name, policy):
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
        if policy:
            iam.put_role_policy(RoleName=name, PolicyName="pii-vault", PolicyDocument=json.dumps(policy))
        assumed = sts.assume_role(RoleArn=made["Role"]["Arn"], RoleSessionName="session")
        return credentials(assumed["Credentials"])

    makers = {"user": user, "role": role}
    made = [makers[principal["kind"]](principal["name"], principal["policy"]) for principal in request["principals"]]
    json.dump(made, sys.stdout)


def credentials(keys):
    return {
        "access_key_id": keys["AccessKeyId"],
        "secret_access_key": keys["SecretAccessKey"],
        "session_token": keys.get("SessionToken"),
    }


main()
