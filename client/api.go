package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxAPIAnswer bounds the answer of an API call, in bytes.
const maxAPIAnswer = 16 << 20

// API calls a server's HTTP API.
type API struct {
	// URL of the API, such as http://127.0.0.1:8000/api.
	URL string
	// Key is sent as X-API-Key, if it is not empty.
	Key string
	// HTTP makes the requests. The default is http.DefaultClient.
	HTTP *http.Client
}

// PublishOptions vary one API publish.
type PublishOptions struct {
	// IdempotencyKey makes a repeated publish harmless: within the server's
	// window the same key gives the same publication.
	IdempotencyKey string
	// Tags of the publication.
	Tags map[string]string
}

// Publish publishes data, a JSON value, to a channel and returns the position of
// the publication.
func (a API) Publish(ctx context.Context, channel string, data []byte, o PublishOptions) (Position, error) {
	if !json.Valid(data) {
		return Position{}, ErrNotJSON
	}
	req := struct {
		Channel        string            `json:"channel"`
		Data           json.RawMessage   `json:"data"`
		IdempotencyKey string            `json:"idempotency_key,omitempty"`
		Tags           map[string]string `json:"tags,omitempty"`
	}{channel, data, o.IdempotencyKey, o.Tags}
	var res struct {
		Offset uint64 `json:"offset"`
		Epoch  string `json:"epoch"`
	}
	if err := a.Call(ctx, "publish", req, &res); err != nil {
		return Position{}, err
	}
	return Position{Epoch: res.Epoch, Offset: res.Offset}, nil
}

// Call calls a method of the API with params and decodes its result into
// result, which may be nil. An error of the server is an *Error.
func (a API) Call(ctx context.Context, method string, params, result any) (err error) {
	body, err := json.Marshal(params)
	if err != nil {
		return fmt.Errorf("api %s: %w", method, err)
	}
	url := strings.TrimSuffix(a.URL, "/") + "/" + method
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("api %s: %w", method, err)
	}
	req.Header.Set("Content-Type", "application/json")
	if a.Key != "" {
		req.Header.Set("X-API-Key", a.Key)
	}
	resp, err := cmp.Or(a.HTTP, http.DefaultClient).Do(req)
	if err != nil {
		return fmt.Errorf("api %s: %w", method, err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAPIAnswer+1))
	if err != nil {
		return fmt.Errorf("api %s: %w", method, err)
	}
	if len(answer) > maxAPIAnswer {
		return fmt.Errorf("api %s: the answer is larger than %d bytes", method, maxAPIAnswer)
	}
	return a.decode(method, resp, answer, result)
}

func (a API) decode(method string, resp *http.Response, answer []byte, result any) error {
	var envelope struct {
		Error *struct {
			Code      uint32 `json:"code"`
			Message   string `json:"message"`
			Temporary bool   `json:"temporary"`
		} `json:"error"`
		Result json.RawMessage `json:"result"`
	}
	err := json.Unmarshal(answer, &envelope)
	switch {
	case err == nil && envelope.Error != nil:
		e := envelope.Error
		return fmt.Errorf("api %s: %w", method, &Error{Code: e.Code, Message: e.Message, Temporary: e.Temporary})
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("api %s: %s", method, resp.Status)
	case err != nil:
		return fmt.Errorf("api %s: the answer is not JSON: %w", method, err)
	case result == nil || len(envelope.Result) == 0:
		return nil
	}
	if err := json.Unmarshal(envelope.Result, result); err != nil {
		return fmt.Errorf("api %s: unexpected result: %w", method, err)
	}
	return nil
}
