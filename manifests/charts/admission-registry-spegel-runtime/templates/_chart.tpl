{{- define "name" -}}
gardener-extension-registry-spegel-admission
{{- end -}}

{{- define "priorityClassName" -}}
{{ .Values.gardener.runtimeCluster.priorityClassName }}
{{- end -}}

{{- define "prometheus" -}}
garden
{{- end -}}

{{- define "tlsSecretName" -}}
{{ required "tls.secretName is required: the Secret of type kubernetes.io/tls, in the release's namespace, that the webhook serves with" .Values.tls.secretName }}
{{- end -}}
