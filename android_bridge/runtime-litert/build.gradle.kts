plugins {
    id("com.android.library")
}

android {
    namespace = "dev.cutpoint.runtime.litert"
    compileSdk = 35
    defaultConfig { minSdk = 24 }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_1_8
        targetCompatibility = JavaVersion.VERSION_1_8
    }
}

dependencies {
    api(project(":core"))
    // The app brings it.
    compileOnly("com.google.ai.edge.litert:litert:1.0.1")
}
