pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}
dependencyResolutionManagement {
    repositories {
        google()
        mavenCentral()
    }
}
rootProject.name = "cutpoint-android"
include(":core", ":kotlin", ":runtime-onnx", ":runtime-litert", ":sample")
