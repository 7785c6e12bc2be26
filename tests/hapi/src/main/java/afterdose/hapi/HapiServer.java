package afterdose.hapi;

import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.jpa.api.config.JpaStorageSettings;
import ca.uhn.fhir.jpa.api.dao.IFhirSystemDao;
import ca.uhn.fhir.jpa.provider.IJpaSystemProvider;
import ca.uhn.fhir.jpa.provider.JpaCapabilityStatementProvider;
import ca.uhn.fhir.jpa.search.DatabaseBackedPagingProvider;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.provider.ResourceProviderFactory;
import ca.uhn.fhir.rest.server.util.ISearchParamRegistry;
import java.io.IOException;
import java.net.InetSocketAddress;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.springframework.context.ApplicationContext;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;

/**
 * A HAPI FHIR JPA server for R4 on 127.0.0.1, under {@code /fhir}.
 *
 * <p>One argument, the port. The process ends when its standard input is closed, so it cannot outlive the tests that
 * started it, however those end.
 */
public final class HapiServer {

    private HapiServer() {}

    public static void main(String[] args) throws Exception {
        int port = Integer.parseInt(args[0]);
        Server server = new Server(new InetSocketAddress("127.0.0.1", port));
        ServletContextHandler web = new ServletContextHandler();
        web.addServlet(new ServletHolder(fhir(new AnnotationConfigApplicationContext(HapiConfig.class))), "/fhir/*");
        server.setHandler(web);
        server.start();
        endWithStandardInput();
    }

    private static RestfulServer fhir(ApplicationContext beans) {
        IFhirSystemDao<?, ?> systemDao = beans.getBean(IFhirSystemDao.class);
        RestfulServer fhir = new RestfulServer(systemDao.getContext());
        fhir.registerProviders(beans.getBean(ResourceProviderFactory.class).createProviders());
        fhir.registerProvider(beans.getBean(IJpaSystemProvider.class));
        fhir.setPagingProvider(beans.getBean(DatabaseBackedPagingProvider.class));
        fhir.setServerConformanceProvider(new JpaCapabilityStatementProvider(
                fhir,
                systemDao,
                beans.getBean(JpaStorageSettings.class),
                beans.getBean(ISearchParamRegistry.class),
                beans.getBean(IValidationSupport.class)));
        return fhir;
    }

    private static void endWithStandardInput() throws IOException {
        while (System.in.read() != -1) {
            // nothing is said on standard input; only its end matters
        }
        System.exit(0);
    }
}
