plugins {
    `java-library`
}

tasks.compileJava {
    options.release = 8
    options.encoding = "UTF-8"
}

dependencies {
    api(project(":core"))
    // The same classes as in onnxruntime-android, which the app brings.
    compileOnly("com.microsoft.onnxruntime:onnxruntime:1.20.0")
}
