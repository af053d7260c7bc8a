// An admission webhook (admission.k8s.io/v1) whose verdict the object itself carries.
package main

import (
	"encoding/json"
	"net/http"
)

// denyKey is the label or annotation that asks for a denial; its value is the message.
const denyKey = "kubernix.test/deny"

type metadata struct {
	Metadata struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
}

// denial returns the message to deny with, and whether to deny at all.
func (object metadata) denial() (string, bool) {
	if message, found := object.Metadata.Annotations[denyKey]; found {
		return message, true
	}
	message, found := object.Metadata.Labels[denyKey]
	return message, found
}

type admissionRequest struct {
	UID       string   `json:"uid"`
	Object    metadata `json:"object"`
	OldObject metadata `json:"oldObject"`
	Operation string   `json:"operation"`
}

type status struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

type admissionResponse struct {
	UID     string  `json:"uid"`
	Allowed bool    `json:"allowed"`
	Status  *status `json:"status,omitempty"`
}

type admissionReview struct {
	APIVersion string             `json:"apiVersion"`
	Kind       string             `json:"kind"`
	Request    *admissionRequest  `json:"request,omitempty"`
	Response   *admissionResponse `json:"response,omitempty"`
}

func answerAdmission(response http.ResponseWriter, request *http.Request) {
	var review admissionReview
	err := json.NewDecoder(http.MaxBytesReader(response, request.Body, maxBody)).Decode(&review)
	if err != nil || review.Request == nil || review.Kind != "AdmissionReview" {
		http.Error(response, "not an AdmissionReview with a request", http.StatusBadRequest)
		return
	}
	object := review.Request.Object
	if review.Request.Operation == "DELETE" {
		object = review.Request.OldObject // A deletion carries the object as what it was.
	}
	verdict := &admissionResponse{UID: review.Request.UID, Allowed: true}
	if message, denied := object.denial(); denied {
		verdict.Allowed = false
		verdict.Status = &status{Code: http.StatusForbidden, Message: message}
	}
	answerJSON(response, admissionReview{APIVersion: review.APIVersion, Kind: review.Kind, Response: verdict})
}
