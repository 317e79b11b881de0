"""Google's own Python client uploads to the sandbox, in chunks and in one request, and reads back what it uploaded."""

import hashlib
import importlib.metadata
import json
import os
import tempfile

from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build_from_document
from googleapiclient.discovery_cache import get_static_doc
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaFileUpload

import sandbox
from sandbox import check

CLIENT = f"google-api-python-client {importlib.metadata.version('google-api-python-client')}"
CHUNK = 256 * 1024


def connect():
    """The client as it comes, except for where Google is."""
    credentials = Credentials(
        token=None,
        refresh_token=os.environ["YOUTUBE_REFRESH_TOKEN"],
        token_uri=os.environ["GOOGLE_TOKEN_URL"],
        client_id=os.environ["YOUTUBE_CLIENT_ID"],
        client_secret=os.environ["YOUTUBE_CLIENT_SECRET"],
    )
    # An `api_endpoint` moves uploads to another host, but leaves them at https.
    document = json.loads(get_static_doc("youtube", "v3"))
    document["rootUrl"] = document["baseUrl"] = sandbox.URL + "/"
    return build_from_document(document, credentials=credentials)


def insert(youtube, media, title, part="snippet,status"):
    body = {
        "snippet": {"title": title, "description": "Uploaded by a client", "tags": ["one", "two words"]},
        "status": {"privacyStatus": "public", "selfDeclaredMadeForKids": False},
    }
    return youtube.videos().insert(part=part, body=body, media_body=media)


def upload_in_chunks(youtube, path, title):
    """Uploads chunk by chunk. The second one is refused once, so that the client asks how far the upload got."""
    media = MediaFileUpload(path, mimetype="video/mp4", chunksize=CHUNK, resumable=True)
    request = insert(youtube, media, title)
    sandbox.call("faults", {"on": "youtube.chunk", "skip": 1, "times": 1, "act": {"kind": "answer", "status": 503}})
    video, progress, refusals = None, [], 0
    while video is None:
        try:
            status, video = request.next_chunk()
        except HttpError as error:
            check(error.resp.status, 503, "a chunk was refused")
            refusals += 1
        else:
            if status:
                progress.append(status.resumable_progress)
    check(refusals, 1, "refused chunks")
    check(progress, [CHUNK, 2 * CHUNK, 3 * CHUNK], "progress after each chunk but the last")
    return video


def upload_at_once(youtube, path, title):
    """Uploads the metadata and the file in one request."""
    media = MediaFileUpload(path, mimetype="video/mp4", resumable=False)
    return insert(youtube, media, title).execute()


def expect_refusal(request, reason):
    """Fails unless the request is refused for this reason, in a form that the client understands."""
    try:
        request.execute()
    except HttpError as error:
        check((error.resp.status, error.error_details[0]["reason"]), (400, reason), "the refusal")
    else:
        raise SystemExit(f"{reason}: was not refused")


def check_video(youtube, video, title, data):
    """The sandbox has the bytes, and the client reads the video."""
    check(video["snippet"]["title"], title, "title of the answer")
    check(video["status"]["privacyStatus"], "public", "privacy of the answer")
    post = sandbox.published(video["id"])
    check((post["text"], post["size"]), (title, len(data)), "what arrived")
    check(post["sha256"], hashlib.sha256(data).hexdigest(), "SHA-256 of the bytes that arrived")

    for _ in range(5):
        listed = youtube.videos().list(part="snippet,status,fileDetails", id=video["id"]).execute()
        [item] = listed["items"]
        if item["status"]["uploadStatus"] == "processed":
            break
    check(item["status"]["uploadStatus"], "processed", "state of the video")
    check(item["snippet"]["title"], title, "title in videos.list")
    check(item["fileDetails"]["fileSize"], str(len(data)), "size in videos.list")


def check_lists(youtube, ids):
    """All videos at once by their ids, and those of the channel."""
    listed = youtube.videos().list(part="status", id=",".join(ids)).execute()
    check({item["id"] for item in listed["items"]}, set(ids), "ids in videos.list")
    [channel] = youtube.channels().list(part="contentDetails", mine=True).execute()["items"]
    uploads = channel["contentDetails"]["relatedPlaylists"]["uploads"]
    request = youtube.playlistItems().list(part="snippet,contentDetails", playlistId=uploads, maxResults=50)
    items = request.execute()["items"]
    found = {item["contentDetails"]["videoId"] for item in items} & set(ids)
    check(found, set(ids), "ids in playlistItems.list")


def main():
    youtube = connect()
    data = sandbox.media(3 * CHUNK + 4321)
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        file.write(data)
        file.flush()
        ids = []
        for kind, upload in [("resumable", upload_in_chunks), ("multipart", upload_at_once)]:
            title = f"Python, {kind} – ä"
            video = upload(youtube, file.name, title)
            check_video(youtube, video, title, data)
            ids.append(video["id"])
            print(f"{CLIENT}: {kind} upload completed")
        check_lists(youtube, ids)
        print(f"{CLIENT}: videos, channels and playlistItems read")

        for resumable in [True, False]:
            media = MediaFileUpload(file.name, mimetype="video/mp4", chunksize=CHUNK, resumable=resumable)
            expect_refusal(insert(youtube, media, "a < b"), "invalidTitle")
            expect_refusal(insert(youtube, media, "No snippet", part="status"), "badRequest")
            text = MediaFileUpload(file.name, mimetype="text/plain", chunksize=CHUNK, resumable=resumable)
            expect_refusal(insert(youtube, text, "No video"), "badRequest")
        print(f"{CLIENT}: refusals understood")
    check(sandbox.call("violations"), [], "rules that were broken without a refusal")


main()
