def test_save_and_read(client):
    body = {"user_id": "ada", "message": "m", "model_used": "x"}
    saved = client.post("/api/v1/interactions/", body, content_type="application/json")
    assert saved.status_code == 201
    found = client.get(f"/api/v1/interactions/{saved.json()['interaction_id']}/")
    assert found.json() == saved.json()
