import com.alibaba.nacos.core.listener.startup.NacosStartUp;
import com.alibaba.nacos.core.listener.startup.NacosStartUpManager;
import com.alibaba.nacos.sys.env.DeploymentType;
import com.alibaba.nacos.sys.env.EnvUtil;
import org.springframework.boot.Banner;
import org.springframework.boot.WebApplicationType;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.context.ConfigurableApplicationContext;

/**
 * Boots a whole Nacos in one process: core without web, the HTTP API, and the console.
 *
 * <p>The jars on Maven Central carry no bootstrap class; this does what Nacos's own does for a "merged"
 * deployment, in the same order. It reads system properties only and must never contain a secret.
 */
public final class Launcher {

    private Launcher() {
    }

    public static void main(String[] args) throws Exception {
        EnvUtil.setDeploymentType(DeploymentType.MERGED);
        ConfigurableApplicationContext core = context(NacosStartUp.CORE_START_UP_PHASE,
                "com.alibaba.nacos.NacosServerBasicApplication", WebApplicationType.NONE, null, args);
        context(NacosStartUp.WEB_START_UP_PHASE,
                "com.alibaba.nacos.NacosServerWebApplication", WebApplicationType.SERVLET, core, args);
        context(NacosStartUp.CONSOLE_START_UP_PHASE,
                "com.alibaba.nacos.console.NacosConsole", WebApplicationType.SERVLET, core, args);
    }

    /** Starts one Spring context of a phase; Nacos's own listeners ask the manager which phase it is. */
    private static ConfigurableApplicationContext context(String phase, String application,
            WebApplicationType type, ConfigurableApplicationContext parent, String[] args) throws Exception {
        NacosStartUpManager.start(phase);
        SpringApplicationBuilder builder = new SpringApplicationBuilder(Class.forName(application))
                .bannerMode(Banner.Mode.OFF);
        if (parent != null) {
            builder.parent(parent);
        }
        return builder.web(type).run(args);
    }
}
