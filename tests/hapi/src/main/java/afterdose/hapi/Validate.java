package afterdose.hapi;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.SingleValidationMessage;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.PrePopulatedValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.UnknownCodeSystemWarningValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.common.hapi.validation.validator.WorkerContextValidationSupportAdapter;
import org.hl7.fhir.instance.model.api.IBaseResource;
import org.hl7.fhir.r4.model.MetadataResource;
import org.hl7.fhir.utilities.VersionUtilities;

/**
 * HL7's validator for FHIR R4 (4.0.1), with the definitions of one folder loaded, and without any network.
 *
 * <p>Arguments: the folder, then the files to check, or {@code @FILE} that names one file a line. A resource is held to
 * R4 and to the profiles that it claims. Standard output: a JSON array with one object a file,
 * {@code {"file": ..., "issues": [{"severity": ..., "path": ..., "id": ..., "text": ...}]}}.
 *
 * <p>Code systems that are not in HL7's own packages (SNOMED CT, LOINC, RxNorm) cannot be looked up: a warning says so.
 */
public final class Validate {

    private static final FhirContext R4 = FhirContext.forR4();

    private Validate() {}

    public static void main(String[] args) throws IOException {
        FhirValidator validator = R4.newValidator();
        validator.registerValidatorModule(instanceValidator(Path.of(args[0])));
        ObjectMapper json = new ObjectMapper();
        ArrayNode report = json.createArrayNode();
        for (String file : files(args)) {
            ObjectNode one = report.addObject();
            one.put("file", file);
            ArrayNode issues = one.putArray("issues");
            try {
                for (SingleValidationMessage message :
                        validator.validateWithResult(Files.readString(Path.of(file))).getMessages()) {
                    issues.addObject()
                            .put("severity", message.getSeverity().getCode())
                            .put("path", message.getLocationString())
                            .put("id", message.getMessageId())
                            .put("text", message.getMessage());
                }
            } catch (RuntimeException unreadable) { // also what the validator itself stumbles over
                issues.addObject().put("severity", "fatal").put("text", String.valueOf(unreadable.getMessage()));
            }
        }
        System.out.println(json.writeValueAsString(report));
    }

    private static FhirInstanceValidator instanceValidator(Path definitions) throws IOException {
        PrePopulatedValidationSupport ours = new PrePopulatedValidationSupport(R4);
        try (Stream<Path> found = Files.list(definitions)) {
            for (Path file : found.filter(path -> path.toString().endsWith(".json")).sorted().toList()) {
                IBaseResource resource = R4.newJsonParser().parseResource(Files.readString(file));
                if (resource instanceof MetadataResource) {
                    ours.addResource(resource);
                }
            }
        }
        UnknownCodeSystemWarningValidationSupport unknown = new UnknownCodeSystemWarningValidationSupport(R4);
        ValidationSupportChain definitionsOfAll = new ValidationSupportChain(
                new DefaultProfileValidationSupport(R4),
                ours,
                new CommonCodeSystemsTerminologyService(R4),
                new InMemoryTerminologyServerValidationSupport(R4),
                new SnapshotGeneratingValidationSupport(R4),
                unknown);
        FhirInstanceValidator validator = new FhirInstanceValidator(definitionsOfAll);
        validator.setWrappedWorkerContext(definitionsOfAll, new Offline(definitionsOfAll));
        validator.setErrorForUnknownProfiles(true);
        return validator;
    }

    /**
     * Says "4.0", not "4.0.1": HL7's check of an extension's context asks for the definitions of "4.0" and would fetch
     * them from the network when the version at hand is called otherwise.
     */
    private static final class Offline extends WorkerContextValidationSupportAdapter {

        Offline(IValidationSupport definitions) {
            super(definitions);
        }

        @Override
        public String getVersion() {
            return VersionUtilities.getMajMin(super.getVersion());
        }
    }

    private static List<String> files(String[] args) throws IOException {
        if (args.length == 2 && args[1].startsWith("@")) {
            return Files.readAllLines(Path.of(args[1].substring(1)));
        }
        return List.of(args).subList(1, args.length);
    }
}
