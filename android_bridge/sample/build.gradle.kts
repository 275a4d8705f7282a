plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

android {
    namespace = "dev.cutpoint.sample"
    compileSdk = 35
    defaultConfig {
        applicationId = "dev.cutpoint.sample"
        minSdk = 24
        targetSdk = 35
        versionCode = 1
        versionName = "0.1.0"
        // The emulator's name for the machine it runs on; -PcutpointServer=wss://… for another.
        val server = providers.gradleProperty("cutpointServer").getOrElse("ws://10.0.2.2:8700")
        buildConfigField("String", "SERVER", "\"$server\"")
    }
    buildFeatures { buildConfig = true }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }
    kotlinOptions { jvmTarget = "11" }
}

dependencies {
    implementation(project(":kotlin"))
    implementation(project(":runtime-onnx"))
    implementation("com.microsoft.onnxruntime:onnxruntime-android:1.20.0")
    implementation("com.squareup.okhttp3:okhttp:4.12.0")
    implementation("androidx.activity:activity-ktx:1.9.3")
    implementation("androidx.lifecycle:lifecycle-runtime-ktx:2.8.7")
    implementation("androidx.camera:camera-camera2:1.4.1")
    implementation("androidx.camera:camera-lifecycle:1.4.1")
    implementation("androidx.camera:camera-view:1.4.1")
}
