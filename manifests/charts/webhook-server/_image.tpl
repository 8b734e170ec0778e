{{- /* repository:tag, or repository@digest when the tag is a digest. */ -}}
{{- define "image" -}}
{{- $repository := required "image.repository is required: where the image built from webhook/Dockerfile was pushed" .Values.image.repository -}}
{{- $tag := required "image.tag is required: a tag, or a digest such as sha256:0123..." .Values.image.tag -}}
{{- $repository }}{{ if hasPrefix "sha256:" $tag }}@{{ else }}:{{ end }}{{ $tag -}}
{{- end -}}
