{{- define "name" -}}
gardener-extension-registry-spegel
{{- end -}}

{{- define "priorityClassName" -}}
gardener-system-900
{{- end -}}

{{- define "prometheus" -}}
seed
{{- end -}}

{{- /* Whether the controller keeps the webhook's certificate and registration: "true" or nothing. */ -}}
{{- define "isKept" -}}
{{- if not .Values.tls.secretName -}}
{{- if .Values.tls.caBundle -}}
{{- fail "tls.secretName is required: tls.caBundle is given, and the two belong together" -}}
{{- end -}}
{{- if not .Values.controller.enabled -}}
{{- fail "tls.secretName is required: the controller, which would make a certificate, is not enabled" -}}
{{- end -}}
true
{{- end -}}
{{- end -}}

{{- define "tlsSecretName" -}}
{{- if include "isKept" . -}}
{{ include "name" . }}-webhook-tls
{{- else -}}
{{ .Values.tls.secretName }}
{{- end -}}
{{- end -}}

{{- define "controllerName" -}}
{{ include "name" . }}-controller
{{- end -}}

{{- /* Also the selector: fixed for the life of a release, and different from the webhook's. */ -}}
{{- define "controllerLabels" -}}
app.kubernetes.io/name: {{ include "controllerName" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "controllerImage" -}}
{{ include "imageOf" (dict "image" .Values.controller.image "path" "controller.image" "dockerfile" "controller/Dockerfile") }}
{{- end -}}
