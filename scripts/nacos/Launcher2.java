import com.alibaba.nacos.core.code.ControllerMethodsCache;
import com.alibaba.nacos.sys.filter.NacosTypeExcludeFilter;
import org.springframework.beans.factory.InitializingBean;
import org.springframework.boot.Banner;
import org.springframework.boot.autoconfigure.AutoConfigurationExcludeFilter;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.boot.context.TypeExcludeFilter;
import org.springframework.boot.web.servlet.ServletComponentScan;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.ComponentScan;
import org.springframework.context.annotation.FilterType;
import org.springframework.scheduling.annotation.EnableScheduling;

/**
 * Boots a Nacos 2.x without its console, whose jar nobody publishes: configuration and naming service, HTTP and gRPC.
 *
 * <p>It reads system properties only and must never contain a secret.
 */
@SpringBootApplication(proxyBeanMethods = false)
@ComponentScan(basePackages = "com.alibaba.nacos", excludeFilters = {
        @ComponentScan.Filter(type = FilterType.CUSTOM, classes = NacosTypeExcludeFilter.class),
        @ComponentScan.Filter(type = FilterType.CUSTOM, classes = TypeExcludeFilter.class),
        @ComponentScan.Filter(type = FilterType.CUSTOM, classes = AutoConfigurationExcludeFilter.class)})
@ServletComponentScan("com.alibaba.nacos")
@EnableScheduling
public class Launcher2 {

    /** Has HTTP requests checked for their rights, which otherwise the console's jar does. */
    @Bean
    InitializingBean rights(ControllerMethodsCache methods) {
        return () -> {
            methods.initClassMethod("com.alibaba.nacos.core.controller");
            methods.initClassMethod("com.alibaba.nacos.naming.controllers");
            methods.initClassMethod("com.alibaba.nacos.config.server.controller");
        };
    }

    public static void main(String[] args) {
        new SpringApplicationBuilder(Launcher2.class).bannerMode(Banner.Mode.OFF).run(args);
    }
}
