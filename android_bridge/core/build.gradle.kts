plugins {
    `java-library`
}

java {
    withJavadocJar()
    withSourcesJar()
}

tasks.withType<JavaCompile>().configureEach {
    options.encoding = "UTF-8"
}
tasks.compileJava { options.release = 8 }
tasks.compileTestJava { options.release = 11 }

dependencies {
    // What the app brings may be newer: only what 3.13 and all later versions have in common is used.
    api("com.squareup.okhttp3:okhttp:3.13.1")
    testImplementation("junit:junit:4.13.2")
}

tasks.test {
    systemProperty("cutpoint.root", rootDir.parent)
}
